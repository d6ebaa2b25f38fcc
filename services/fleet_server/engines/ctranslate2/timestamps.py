"""Splits a window's tokens at Whisper's timestamp tokens.

`<|0.00|> text <|2.50|><|2.50|> text <|4.00|>`: a timestamp opens and closes each span, in steps of
20 ms (section 2.3 of the Whisper paper, arXiv 2212.04356).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEP = 0.02


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """A span of tokens, timestamps included; times in seconds from the window's start."""

    start: float
    end: float
    tokens: tuple[int, ...]


def split(
    tokens: Sequence[int], first_timestamp: int, seconds: float, *, truncated: bool
) -> list[TimedTokens]:
    """The spans of a window of `seconds`.

    A span without a closing timestamp ends with the window. If the decoder was `truncated` by its
    length limit, such a span is left out, so that the rest of the window is decoded from there.
    """
    spans: list[TimedTokens] = []
    start, begin = 0.0, 0
    has_text = False
    for position, token in enumerate(tokens):
        if token < first_timestamp:
            has_text = True
            continue
        moment = min(seconds, (token - first_timestamp) * STEP)
        if has_text:
            spans.append(_timed(start, moment, tokens[begin : position + 1]))
            begin, has_text = position + 1, False
        else:
            begin = position
        start = moment
    if has_text and not (truncated and spans):
        spans.append(_timed(start, seconds, tokens[begin:]))
    return spans


def _timed(start: float, end: float, tokens: Sequence[int]) -> TimedTokens:
    return TimedTokens(round(start, 2), round(max(start, end), 2), tuple(tokens))
