"""Finds a mark, such as `</think>`, in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Iterable


def partial(text: str, marks: Iterable[str]) -> int:
    """The length of the longest end of `text` that is a proper beginning of a mark."""
    longest = 0
    for mark in marks:
        for length in range(min(len(mark) - 1, len(text)), longest, -1):
            if text.endswith(mark[:length]):
                longest = length
                break
    return longest


def first(text: str, marks: Iterable[str], start: int = 0) -> tuple[int, str] | None:
    """The place of the mark that begins first at or after `start`, and the mark; of several at one
    place the longest."""
    found = [(text.find(mark, start), -len(mark), mark) for mark in marks]
    places = [each for each in found if each[0] >= 0]
    if not places:
        return None
    place, _, mark = min(places)
    return place, mark


def spaces(text: str) -> int:
    """The length of the white space at the end of `text`."""
    return len(text) - len(text.rstrip())
