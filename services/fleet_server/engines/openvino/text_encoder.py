"""Tokenises texts of any length with OpenVINO's tokenizer.

The tokenizer graph of a GGUF keeps the last 8,192 tokens only, whatever its options and the model's
context. A text that may have been truncated is encoded again in chunks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

CHUNK_CHARS = 2000
"""Even at four tokens per character a chunk stays below the limit of 8,192 tokens."""
LIMIT_MULTIPLE = 256
"""The token limits of tokenizer graphs are multiples of this."""
BETWEEN_WORDS = re.compile(r"(?<=[^\s])(?= [A-Za-z])")
"""Where no token spans: word tokens begin with their space in every known vocabulary."""


class TextEncoder:
    """`tokenizer` is an `openvino_genai.Tokenizer`. Thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str, *, add_special: bool = False) -> Ids:
        """Int64 `[tokens]`, never truncated."""
        ids = self._encode(text, add_special)
        if len(text) <= CHUNK_CHARS or len(ids) % LIMIT_MULTIPLE:
            return ids
        parts = [
            self._encode(chunk, add_special and number == 0)
            for number, chunk in enumerate(chunks(text))
        ]
        whole = np.concatenate(parts)
        return whole if len(whole) > len(ids) else ids

    def _encode(self, text: str, add_special: bool) -> Ids:
        encoded = self._tokenizer.encode(text, add_special_tokens=add_special).input_ids
        return np.array(encoded.data, dtype=np.int64).reshape(-1)


def chunks(text: str) -> Iterator[str]:
    """The text in chunks of at most CHUNK_CHARS, split between words if possible."""
    start = 0
    while len(text) - start > CHUNK_CHARS:
        window = text[start : start + CHUNK_CHARS]
        found = [match.start() for match in BETWEEN_WORDS.finditer(window) if match.start()]
        end = start + (found[-1] if found else CHUNK_CHARS)
        yield text[start:end]
        start = end
    yield text[start:]
