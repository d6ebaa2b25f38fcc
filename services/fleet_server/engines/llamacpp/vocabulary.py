"""llama.cpp's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_server.engines.llamacpp.server import EmbeddedServer


class LlamaVocabulary:
    """A Vocabulary (fleet_server.protocols). Thread-safe."""

    def __init__(self, server: EmbeddedServer, size: int) -> None:
        self.size = size
        self._server = server
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        options = {"add_special": add_special, "parse_special": parse_special, "with_pieces": True}
        found = self._server.post("/tokenize", {"content": text, **options})["tokens"]
        for each in found:
            piece = each["piece"]
            self._pieces[each["id"]] = piece.encode() if isinstance(piece, str) else bytes(piece)
        return [each["id"] for each in found]

    def decode(self, token_ids: Sequence[int]) -> str:
        if not token_ids:
            return ""
        return str(self._server.post("/detokenize", {"tokens": list(token_ids)})["content"])

    def remember(self, token_id: int, piece: bytes) -> None:
        """Keep the bytes of a token for `piece`; those of a special token are its text."""
        if token_id not in self._pieces:
            self._pieces[token_id] = piece or self.decode([token_id]).encode()

    def piece(self, token_id: int) -> bytes:
        """The bytes of a known token; of others their text."""
        known = self._pieces.get(token_id)
        return self.decode([token_id]).encode() if known is None else known
