"""Streamed chats of two servers in turns: tokens per second and time to the first token.

Both get prompts of their own, none twice. The ratios are medians of those within a round, since the
speed of a machine varies.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lean
import orjson
import stack

from fleet_bench.words import text

COLUMNS = [
    "load", "tokens/s, ours", "tokens/s, theirs", "tokens/s, ratio", "first token ms, ours",
    "first token ms, theirs", "first token, ratio",
]  # fmt: skip
STEP = 100_000
"""Numbers of prompts between two measurements."""


@dataclass(frozen=True, slots=True)
class Load:
    """Prompts of so many `words`; each client sends `each` of them, one after the other."""

    levels: list[int]
    each: int
    rounds: int
    words: int = 20


@dataclass(frozen=True, slots=True)
class Rates:
    """`first` is the median in milliseconds."""

    tokens: float
    first: float


def measure(url: str, model: str, at_once: int, number: int, words: int, start: int) -> Rates:
    """Send `number` requests from `at_once` clients."""
    found = lean.exchange(
        url, "/v1/chat/completions", _bodies(model, number, words, start), at_once
    )
    tokens = sum(map(_tokens, found.answers))
    # Random weights may generate a special token first, which has no text.
    first = statistics.median(found.firsts) if found.firsts else float("nan")
    return Rates(tokens / found.seconds, 1000 * first)


def compare(ours: str, theirs: str, model: str, load: Load) -> list[list[Any]]:
    """A row for each level, with COLUMNS."""
    servers = [("ours", ours), ("theirs", theirs)]
    found: dict[tuple[str, int], list[Rates]] = {}
    start = 0
    for turn in range(load.rounds + 1):  # the first one is the warm-up
        for at_once in load.levels:
            for name, url in servers if turn % 2 else reversed(servers):
                start += STEP
                number = at_once * (load.each if turn else 1)
                rates = measure(url, model, at_once, number, load.words, start)
                if turn:
                    found.setdefault((name, at_once), []).append(rates)
    return [_row(at_once, found) for at_once in load.levels]


def _bodies(model: str, number: int, words: int, start: int) -> Iterator[bytes]:
    for at in range(start, start + number):
        content = f"Tell a long story about: {text(at, words)}"
        yield orjson.dumps({
            "model": model, "messages": [{"role": "user", "content": content}],
            "max_tokens": stack.NEW_TOKENS, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True},
        })  # fmt: skip


def _tokens(answer: bytes) -> int:
    """Generated tokens of a stream. Raises AssertionError if it is incomplete."""
    events = [
        line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")
    ]
    assert events, answer
    assert events[-1].strip() == b"[DONE]", answer
    usages = [orjson.loads(event).get("usage") for event in events[:-1]]
    return int([usage for usage in usages if usage][-1]["completion_tokens"])


def _row(at_once: int, found: Mapping[tuple[str, int], list[Rates]]) -> list[Any]:
    columns: list[Any] = [f"{at_once} at once"]
    for name in ("tokens", "first"):
        ours, theirs = (
            [getattr(rates, name) for rates in found[side, at_once]] for side in ("ours", "theirs")
        )
        ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
        columns += [round(statistics.median(values), 1) for values in (ours, theirs)]
        columns.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return columns
