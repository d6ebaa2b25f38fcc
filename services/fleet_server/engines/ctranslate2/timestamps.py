"""Splits a window's tokens at their timestamps: the token layout of Whisper's decoder.

`<|0.00|> text <|2.50|><|2.50|> text <|4.00|>`: a timestamp opens and closes each piece, in steps
of 20 ms, as in section 2.3 of the Whisper paper (arXiv 2212.04356).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEP = 0.02


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens with their timestamps; times in seconds from the window's start."""

    start: float
    end: float
    tokens: tuple[int, ...]


def split(
    tokens: Sequence[int], first_timestamp: int, seconds: float, *, cut_short: bool
) -> list[Piece]:
    """The pieces of a window of `seconds`.

    A piece without a closing timestamp ends with the window, unless the answer was cut short by
    its length: then it is left out, so that the window's rest is read again from there.
    """
    pieces: list[Piece] = []
    start, begin = 0.0, 0
    has_text = False
    for position, token in enumerate(tokens):
        if token < first_timestamp:
            has_text = True
            continue
        moment = min(seconds, (token - first_timestamp) * STEP)
        if has_text:
            pieces.append(_piece(start, moment, tokens[begin : position + 1]))
            begin, has_text = position + 1, False
        else:
            begin = position
        start = moment
    if has_text and not (cut_short and pieces):
        pieces.append(_piece(start, seconds, tokens[begin:]))
    return pieces


def _piece(start: float, end: float, tokens: Sequence[int]) -> Piece:
    return Piece(round(start, 2), round(max(start, end), 2), tuple(tokens))
