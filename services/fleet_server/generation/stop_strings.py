"""Looks for stop strings in a text that grows; used by chat.text.

Each character is looked at once for each stop string, however long those are and however much of
one has been seen (Knuth, Morris, Pratt: "Fast pattern matching in strings", 1977).
"""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """`feed` it the text piece by piece, until it finds something."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [_Word(word) for word in words]

    def feed(self, text: str) -> tuple[int, int] | None:
        """The stop string that is complete first: characters of `text` up to its end, and its own
        length, the longest of those that end there; None when none is complete.

        The one complete first, not the one that begins first: so the answer does not depend on how
        many tokens came at once.
        """
        for number, letter in enumerate(text, start=1):
            found = [len(word.text) for word in self._words if word.step(letter)]
            if found:
                return number, max(found)
        return None

    @property
    def begun(self) -> int:
        """Characters at the end of the text that may become a stop string."""
        return max((word.seen for word in self._words), default=0)


class _Word:
    """One stop string, and how many of its characters the text ends with."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.seen = 0
        self._shorter = _borders(text)

    def step(self, letter: str) -> bool:
        """Whether the text with `letter` ends with the whole of it."""
        seen = self.seen
        while seen and self.text[seen] != letter:
            seen = self._shorter[seen]
        self.seen = seen + (self.text[seen] == letter)
        return self.seen == len(self.text)


def _borders(text: str) -> list[int]:
    """For each length of a beginning of `text`, that of its longest end that it begins with too."""
    borders = [0, 0]
    longest = 0
    for letter in text[1:]:
        while longest and text[longest] != letter:
            longest = borders[longest]
        longest += text[longest] == letter
        borders.append(longest)
    return borders
