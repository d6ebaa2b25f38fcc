"""Tokenises texts with the repository's tokenizer.json, without truncation and padding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from fleet_server.engines.encoder_files.vocabulary import LibraryVocabulary
from fleet_server.load_error import LoadError

SHORT_CHARS = 1000
"""Longest text tokenised with `encode`, which is faster than a batch of one but holds the
interpreter lock."""


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
        self._closing = self._closing_ids()
        self.pair_boundary = self._pair_boundary()

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included."""
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARS:
            return [self._tokenizer.encode(texts[0]).ids]
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(list(texts))]

    def pairs(self, first: str, seconds: Sequence[str]) -> list[list[int]]:
        """Token ids of `first` paired with each of `seconds`, special tokens included."""
        pairs = [(first, second) for second in seconds]
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(pairs)]

    def cut(self, token_ids: Sequence[int], length: int) -> list[int]:
        """At most `length` ids; closing special tokens are kept at the end."""
        ids = list(token_ids)
        if len(ids) <= length:
            return ids
        closing = self._closing
        if closing and len(closing) < length and ids[-len(closing) :] == closing:
            return ids[: length - len(closing)] + closing
        return ids[:length]

    def _closing_ids(self) -> list[int]:
        """The special tokens at the end of a text, such as `[SEP]`."""
        encoded = self._tokenizer.encode("a")
        closing: list[int] = []
        for token, special in zip(
            reversed(encoded.ids), reversed(encoded.special_tokens_mask), strict=True
        ):
            if not special:
                break
            closing.insert(0, token)
        return closing

    def _pair_boundary(self) -> int | None:
        """The special token before the second text of a pair if that text has token type 1; None
        if all types are 0."""
        encoded = self._tokenizer.encode("a", "b")
        if not any(encoded.type_ids):
            return None
        ids: list[int] = encoded.ids
        return ids[encoded.type_ids.index(1) - 1]
