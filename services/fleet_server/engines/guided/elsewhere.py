"""A compiler of formats for engines that compile `Grammar.source` themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_server.engines.guided.compiler import Grammar, GrammarCompiler, GuidedVocabulary
from fleet_server.engines.guided.lark import Special

SPACED: dict[str, Any] = {
    # Flexible white space could be repeated without end.
    "whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """A format in Lark, with the special tokens of the model. `param` is its place in the
    request."""

    source: str
    unenforced: tuple[str, ...]
    param: str
    most_sequences: int | None = None
    """How many sequences of one request may follow it."""
    of_bytes: Any = None
    """An `llguidance.LLMatcher` of the same format and of single bytes, at the beginning of a text;
    None if the format has special tokens."""


def in_source(
    grammar: Grammar, special: Special, param: str, most_sequences: int | None = None
) -> SourceFormat:
    """The format for a vocabulary with these special tokens."""
    source = grammar.plan.text(special)
    of_bytes = grammar.matcher() if source == grammar.plan.text(lambda _: None) else None
    return SourceFormat(source, grammar.unenforced, param, most_sequences, of_bytes)


def source_compiler(cpu_seconds: float | None = None) -> GrammarCompiler:
    """Checks formats, within limits, with a vocabulary of single bytes. `cpu_seconds` as in
    GrammarCompiler."""
    return GrammarCompiler(_byte_tokens(), white_space=SPACED, cpu_seconds=cpu_seconds)


def _byte_tokens() -> GuidedVocabulary:
    return GuidedVocabulary(
        pieces=[*(bytes([value]) for value in range(256)), b"<end>"],
        special={256}, stop_ids=[256], encode=lambda text: list(text.encode()),
    )  # fmt: skip
