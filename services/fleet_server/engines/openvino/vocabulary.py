"""A Vocabulary (fleet_server.protocols) over OpenVINO's tokenizer; OpenVinoChat shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_server.engines.openvino.detokenizer import Detokenizer
from fleet_server.engines.openvino.text_encoder import TextEncoder


class OpenVinoVocabulary:
    """`tokenizer` is an `openvino_genai.Tokenizer`. Safe to call from several threads."""

    def __init__(self, tokenizer: Any, encode: TextEncoder, detokenizer: Detokenizer) -> None:
        self._tokenizer = tokenizer
        self._encode = encode
        self._pieces = detokenizer.pieces
        self.size = max(self._pieces) + 1

    def encode(self, text: str, add_special: bool) -> list[int]:
        ids: list[int] = self._encode(text, add_special=add_special).tolist()
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        if not token_ids:
            return ""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def piece(self, token_id: int) -> bytes:
        return self._pieces.get(token_id, b"")
