"""Text to token ids through OpenVINO's tokenizer, whole however long; used by OpenVinoChat.

The tokenizer graph of a GGUF keeps the last 8,192 tokens of what it reads, whatever it is told and
whatever the model reads. A text that may have been cut is encoded again in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

PIECE_CHARS = 2000
"""Even at four tokens a character, a piece stays below the cut."""
CUTS = 256
"""Tokenizer graphs cut at a multiple of this."""
BETWEEN_WORDS = re.compile(r"(?<=[^\s])(?= [A-Za-z])")
"""Where no token reaches across: word tokens begin with their space in every known vocabulary."""


class TextEncoder:
    """`tokenizer` is an `openvino_genai.Tokenizer`. Safe to call from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str, *, add_special: bool = False) -> Ids:
        """Int64 `[tokens]`, never cut."""
        ids = self._encode(text, add_special)
        if len(text) <= PIECE_CHARS or len(ids) % CUTS:
            return ids
        parts = [
            self._encode(piece, add_special and number == 0)
            for number, piece in enumerate(pieces(text))
        ]
        whole = np.concatenate(parts)
        return whole if len(whole) > len(ids) else ids

    def _encode(self, text: str, add_special: bool) -> Ids:
        encoded = self._tokenizer.encode(text, add_special_tokens=add_special).input_ids
        return np.array(encoded.data, dtype=np.int64).reshape(-1)


def pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most PIECE_CHARS, split between words where there are any."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        window = text[start : start + PIECE_CHARS]
        found = [match.start() for match in BETWEEN_WORDS.finditer(window) if match.start()]
        end = start + (found[-1] if found else PIECE_CHARS)
        yield text[start:end]
        start = end
    yield text[start:]
