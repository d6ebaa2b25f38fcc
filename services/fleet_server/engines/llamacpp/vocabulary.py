"""llama.cpp's tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from fleet_server.engines.llamacpp.long_runs import NOTHING, divided, spaced
from fleet_server.engines.llamacpp.server import EmbeddedServer

BPE = 2
"""Of `enum llama_vocab_type` (llama.h): the only kind that divides texts with `std::regex`."""


class LlamaVocabulary:
    """A Vocabulary (fleet_server.protocols). Thread-safe.

    `kind` is its `vocab_type` in /v1/models; `special` are the texts of special tokens.
    """

    def __init__(
        self, server: EmbeddedServer, size: int, kind: int = BPE, special: Iterable[str] = ()
    ) -> None:
        self.size = size
        self._divides = kind == BPE
        words = sorted(filter(None, special), key=len, reverse=True)
        self._whole = re.compile("|".join(map(re.escape, words))) if words else NOTHING
        self._server = server
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        parts = divided(text, self._whole) if self._divides else [text]
        if len(parts) == 1:
            return self._encode(text, add_special, parse_special)
        before, after = self.around() if add_special else ([], [])
        found = [self._encode(part, False, parse_special) for part in parts]
        return [*before, *chain.from_iterable(found), *after]

    def around(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after every text."""
        whole, plain = self._encode("a", True), self._encode("a", False)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        return [], []

    def tokenisable(self, text: str) -> str:
        """The text for routes of llama.cpp that tokenise it themselves."""
        return spaced(text, self._whole) if self._divides else text

    def _encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
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
