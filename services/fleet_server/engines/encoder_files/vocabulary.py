"""A Vocabulary (fleet_server.protocols) over a `tokenizers.Tokenizer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from fleet_server.engines.parts_vocabulary import PartsVocabulary
from fleet_server.engines.special_text import SpecialText

UNFINISHED = "\ufffd"


def encode_parts(tokenizer: Any, parts: Sequence[str], add_special: bool) -> list[int]:
    """Token ids of a text whose parts are tokenised one by one; `add_special` adds the special
    tokens around it. `tokenizer` is a `tokenizers.Tokenizer`."""
    # Only the methods for batches release the interpreter lock.
    if len(parts) == 1:
        encoded = tokenizer.encode_batch_fast(list(parts), add_special_tokens=add_special)[0]
    else:
        pieces = tokenizer.encode_batch_fast(list(parts), add_special_tokens=False)
        merged = Encoding.merge(pieces, growing_offsets=True)
        encoded = tokenizer.post_process(merged, add_special_tokens=add_special)
    ids: list[int] = encoded.ids
    return ids


class LibraryVocabulary(PartsVocabulary):
    """Thread-safe. The tokenizer must neither truncate nor pad."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        added = tokenizer.get_added_tokens_decoder().values()
        super().__init__(SpecialText(token.content for token in added if token.special))

    def _ids(self, parts: Sequence[str], add_special: bool) -> list[int]:
        return encode_parts(self._tokenizer, parts, add_special)

    def decode(self, token_ids: Sequence[int]) -> str:
        texts: list[str] = self._tokenizer.decode_batch(
            [list(token_ids)], skip_special_tokens=False
        )
        return texts[0]

    def piece(self, token_id: int) -> bytes:
        """The bytes of a token. For a token that is not valid UTF-8 they are decoded from the
        letters with which a byte-level vocabulary represents bytes."""
        text: str = self._tokenizer.decode([token_id], skip_special_tokens=False)
        if UNFINISHED not in text:
            return text.encode()
        letters = self._tokenizer.id_to_token(token_id) or ""
        if not set(letters) <= BYTES.keys():
            return text.encode()
        return bytes(BYTES[letter] for letter in letters)


def _letters() -> dict[str, int]:
    """The letters of byte-level vocabularies: printable Latin-1 characters represent themselves,
    the other bytes are numbered from 256 on (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + number): byte for number, byte in enumerate(others)
    }


BYTES = _letters()
