"""Tokenises texts of any length with OpenVINO's tokenizer.

The tokenizer graph of a GGUF keeps the last 8,192 tokens only (MAX_LENGTH in GenAI's
gguf_tokenizer.cpp), whatever its options and the model's context. Its binding holds the interpreter
lock during a call: 15 s for 8 MB without a space. So long texts are encoded in chunks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.special_text import SpecialText
from fleet_server.engines.text_chunks import chunks, puts_space

Ids = NDArray[np.int64]

LIMIT = 8192
"""Tokens that the graph of a GGUF keeps. That of an exported model keeps all."""
WHOLE_CHARS = 4 * LIMIT
"""The longest text of one call. Longer ones have more tokens than LIMIT, but for tables and white
space."""
CHUNK_BYTES = 8000
"""Below LIMIT even at one token per byte, the most that vocabularies need. A call costs as much as
2,000 tokens."""


class TextEncoder:
    """`tokenizer` is an `openvino_genai.Tokenizer` with these special tokens. Thread-safe."""

    def __init__(self, tokenizer: Any, special: SpecialText) -> None:
        self._tokenizer = tokenizer
        self._special = special
        self._puts_space = puts_space(lambda text: self._encode(text, False).tolist())

    def __call__(self, text: str, *, add_special: bool = False) -> Ids:
        """Int64 `[tokens]`, never truncated."""
        if len(text) <= WHOLE_CHARS:
            ids = self._encode(text, add_special)
            if len(ids) != LIMIT:
                return ids
        parts = chunks(text, self._special, CHUNK_BYTES, puts_space=self._puts_space)
        return np.concatenate(
            [self._encode(part, add_special and number == 0) for number, part in enumerate(parts)]
        )

    def _encode(self, text: str, add_special: bool) -> Ids:
        encoded = self._tokenizer.encode(text, add_special_tokens=add_special).input_ids
        return np.array(encoded.data, dtype=np.int64).reshape(-1)
