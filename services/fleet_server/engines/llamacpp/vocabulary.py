"""llama.cpp's tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain

from fleet_server.engines.llamacpp.long_runs import NOTHING, divided, spaced
from fleet_server.engines.llamacpp.server import EmbeddedServer
from fleet_server.engines.special_text import SpecialText
from fleet_server.engines.text_chunks import chunks, puts_space

BPE = 2
"""Of `enum llama_vocab_type` (llama.h): the only kind that divides texts with `std::regex`."""
WORDS = frozenset({1, BPE, 3, 4})
"""The kinds without tokens of several words, by the same numbers: SentencePiece's two, WordPiece
and byte pairs."""
REQUEST_CHARS = 16_384
"""The longest text of one request. Its response has about 40 bytes for each token, which are parsed
under the interpreter lock into objects of 400."""
REQUEST_BYTES = 2 * REQUEST_CHARS


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
        self._special = SpecialText(words) if kind in WORDS else None
        self._whole = re.compile("|".join(map(re.escape, words))) if words else NOTHING
        self._server = server
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        return self.encode_parts([text], add_special, parse_special)

    def encode_parts(
        self, parts: Sequence[str], add_special: bool, parse_special: bool = True
    ) -> list[int]:
        pieces = [piece for part in parts for piece in self._pieces_of(part)]
        if len(pieces) == 1:
            return self._encode(pieces, add_special, parse_special)
        before, after = self.around if add_special else ([], [])
        # Few requests: a text of special tokens has thousands of parts.
        found = [self._encode(some, False, parse_special) for some in _requests(pieces)]
        return [*before, *chain.from_iterable(found), *after]

    @cached_property
    def around(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after every text."""
        whole, plain = self._encode(["a"], True), self._encode(["a"], False)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        return [], []

    def tokenisable(self, text: str) -> str:
        """The text for routes of llama.cpp that tokenise it themselves."""
        return spaced(text, self._whole) if self._divides else text

    @cached_property
    def _puts_space(self) -> bool:
        return puts_space(lambda text: self._encode([text], False))

    def _pieces_of(self, text: str) -> Iterator[str]:
        pieces = divided(text, self._whole) if self._divides else [text]
        for piece in pieces:
            if self._special is None or len(piece) <= REQUEST_CHARS:
                yield piece
            else:
                yield from chunks(piece, self._special, REQUEST_BYTES, puts_space=self._puts_space)

    def _encode(
        self, texts: Sequence[str], add_special: bool, parse_special: bool = True
    ) -> list[int]:
        """The ids of all texts; `add_special` adds special tokens around the first one."""
        options = {"add_special": add_special, "parse_special": parse_special, "with_pieces": True}
        found = self._server.post("/tokenize", {"content": texts, **options})["tokens"]
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


def _requests(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts of each request."""
    some: list[str] = []
    number = 0
    for text in texts:
        if some and number + len(text) > REQUEST_CHARS:
            yield some
            some, number = [], 0
        some.append(text)
        number += len(text)
    yield some
