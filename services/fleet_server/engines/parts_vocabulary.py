"""What vocabularies that tokenise in the server's process have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from fleet_server.engines.special_text import SpecialText


class PartsVocabulary(ABC):
    """`encode` and `encode_parts` of a Vocabulary (fleet_server.protocols), whose special tokens
    are `words`."""

    def __init__(self, words: SpecialText) -> None:
        self._words = words

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        return self.encode_parts([text], add_special, parse_special)

    def encode_parts(
        self, parts: Sequence[str], add_special: bool, parse_special: bool = True
    ) -> list[int]:
        if not parse_special:
            parts = [piece for part in parts for piece in self._words.parts(part)]
        return self._ids(parts, add_special)

    @abstractmethod
    def _ids(self, parts: Sequence[str], add_special: bool) -> list[int]:
        """The ids of parts that are tokenised one by one, special tokens in them parsed."""
