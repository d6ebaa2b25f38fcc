"""A Vocabulary (fleet_server.protocols) over a `tokenizers.Tokenizer`."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from fleet_server.engines.special_text import SpecialText

UNFINISHED = "\ufffd"


class LibraryVocabulary:
    """Thread-safe. The tokenizer must neither truncate nor pad."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        added = tokenizer.get_added_tokens_decoder().values()
        self._words = SpecialText(token.content for token in added if token.special)

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        parts = [text] if parse_special else self._words.parts(text)
        ids: list[int] = []
        for number, part in enumerate(parts):
            first = add_special and number == 0
            # Only the methods for batches release the interpreter lock.
            encoded = self._tokenizer.encode_batch_fast([part], add_special_tokens=first)
            ids.extend(encoded[0].ids)
        return ids

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
