"""Finds stop strings in a growing text.

Time is linear in the text for each stop string, whatever its length (Knuth, Morris, Pratt: "Fast
pattern matching in strings", 1977).
"""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Call `feed` with successive parts of the text until it returns a match."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [_Word(word) for word in words]

    def feed(self, text: str) -> tuple[int, int] | None:
        """The first complete stop string: its end in `text` and its length, of the longest one if
        several end there; None if none is complete.

        The first to end rather than to begin, so that the result does not depend on how the text
        is split.
        """
        for number, letter in enumerate(text, start=1):
            found = [len(word.text) for word in self._words if word.step(letter)]
            if found:
                return number, max(found)
        return None

    @property
    def pending(self) -> int:
        """Number of characters at the end of the text that may become a stop string."""
        return max((word.seen for word in self._words), default=0)


class _Word:
    """One stop string; `seen` of its characters are at the end of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.seen = 0
        self._shorter = _borders(text)

    def step(self, letter: str) -> bool:
        """Whether the text, extended by `letter`, ends with the stop string."""
        seen = self.seen
        while seen and self.text[seen] != letter:
            seen = self._shorter[seen]
        self.seen = seen + (self.text[seen] == letter)
        return self.seen == len(self.text)


def _borders(text: str) -> list[int]:
    """For each prefix of `text`, the length of its longest proper prefix that is also a suffix."""
    borders = [0, 0]
    longest = 0
    for letter in text[1:]:
        while longest and text[longest] != letter:
            longest = borders[longest]
        longest += text[longest] == letter
        borders.append(longest)
    return borders
