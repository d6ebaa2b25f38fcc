"""The inputs of a comparison: prompts, texts and recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet_bench.recordings import AudioFile, read

PROMPTS = (
    "What is the capital of France?",
    "Explain in two sentences what a queue is.",
    "Write a haiku about the sea.",
    "List three prime numbers and say why they are prime.",
    "Name the planets of the solar system in order.",
    "Write a Python function that reverses a string.",
    "Give one advantage of small language models.",
    "Translate 'good morning' to German.",
)
TEXTS = (
    "hello world",
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Modern serving systems batch requests by their number of tokens.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "def reverse(text): return text[::-1]",
    "A reranker reads the query and the document together, an embedding model reads each alone.",
    "¿Dónde está la biblioteca?",
    "今日は天気がいいですね。",
)
MAX_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Cases:
    """Inputs for both servers.

    Prompts and texts of the user (`own_prompts`, `own_texts`) are timed as well. By default
    distinct generated texts are timed, so that no cache serves a later round, and these inputs are
    used to compare outputs.
    """

    prompts: tuple[str, ...]
    texts: tuple[str, ...]
    recordings: tuple[AudioFile, ...]
    own_prompts: bool
    own_texts: bool


def cases(prompts: Path | None, texts: Path | None, recordings: list[Path]) -> Cases:
    """Inputs from files with a prompt or text in each line. Raises ValueError or OSError."""
    return Cases(
        lines(prompts) if prompts else PROMPTS,
        lines(texts) if texts else TEXTS,
        tuple(read(recordings)),
        prompts is not None,
        texts is not None,
    )


def lines(path: Path) -> tuple[str, ...]:
    """The lines of a file that are not blank. Raises ValueError or OSError."""
    found = tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not 0 < len(found) <= MAX_LINES:
        raise ValueError(f"{path} must have 1 to {MAX_LINES} lines that are not blank")
    return found
