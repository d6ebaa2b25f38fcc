"""Tokenises texts with the repository's tokenizer.json, without truncation and padding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from fleet_server.engines.encoder_files.vocabulary import LibraryVocabulary
from fleet_server.load_error import LoadError

SHORT_CHARS = 1000
"""Maximum length of a text tokenised with `encode`, which is faster than a batch of one but holds
the interpreter lock."""


class TextTokenizer:
    """Adds the special tokens of the file's template. Thread-safe."""

    def __init__(self, path: Path, threads: int) -> None:
        # tokenizers reads this at its first batch; the default is the number of the host's cores.
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise LoadError(f"{path} cannot be read: {error}.", "Fetch the model again.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocabulary = LibraryVocabulary(self._tokenizer)
        self.vocab_size = self.vocabulary.size
        self.special_ids = self._around(self._tokenizer.encode("a"), 0, 0)
        self._pair = self._pair_template()
        self.pair_boundary = self._pair_boundary()

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included."""
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARS:
            return [self._tokenizer.encode(texts[0]).ids]
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(list(texts))]

    def pairs(self, first: str, seconds: Sequence[str]) -> list[list[int]]:
        """Token ids of `first` paired with each of `seconds`, special tokens included."""
        if self._pair is None:
            pairs = [(first, second) for second in seconds]
            return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(pairs)]
        opening, between, closing = self._pair
        start, *rest = self._plain([first, *seconds])
        head = [*opening, *start, *between]
        return [[*head, *ids, *closing] for ids in rest]

    def cut(self, token_ids: Sequence[int], length: int) -> list[int]:
        """At most `length` ids; closing special tokens are kept at the end."""
        ids = list(token_ids)
        if len(ids) <= length:
            return ids
        closing = self.special_ids[1]
        if closing and len(closing) < length and ids[-len(closing) :] == closing:
            return ids[: length - len(closing)] + closing
        return ids[:length]

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [each.ids for each in encoded]

    @staticmethod
    def _around(encoded: Encoding, first: int, last: int) -> tuple[list[int], list[int]]:
        """The special tokens before text `first` and after text `last` of an encoding, such as
        `[CLS]` and `[SEP]`."""
        owners = encoded.sequence_ids
        begin = owners.index(first) if first in owners else 0
        end = len(owners) - owners[::-1].index(last) if last in owners else len(owners)
        return encoded.ids[:begin], encoded.ids[end:]

    def _pair_template(self) -> tuple[list[int], list[int], list[int]] | None:
        """The special tokens before, between and after the texts of a pair; None if a pair is more
        than these and the tokens of its texts, which then are tokenised together."""
        encoded = self._tokenizer.encode("a", "b")
        owners = encoded.sequence_ids
        if 0 not in owners or 1 not in owners:
            return None
        opening, closing = self._around(encoded, 0, 1)
        begin, end = len(owners) - owners[::-1].index(0), owners.index(1)
        between = encoded.ids[begin:end]
        for pair in (("a", "b"), ("A b, c", " D  e.")):
            first, second = self._plain(pair)
            if self._tokenizer.encode(*pair).ids != [
                *opening, *first, *between, *second, *closing,
            ]:  # fmt: skip
                return None
        return opening, between, closing

    def _pair_boundary(self) -> int | None:
        """The special token before the second text of a pair if that text has token type 1; None
        if all types are 0."""
        encoded = self._tokenizer.encode("a", "b")
        if not any(encoded.type_ids):
            return None
        ids: list[int] = encoded.ids
        return ids[encoded.type_ids.index(1) - 1]
