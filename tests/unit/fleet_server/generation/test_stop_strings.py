"""Stop strings in a growing text, compared with a naive search."""

from __future__ import annotations

import sys
from itertools import product
from types import FrameType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet_server.generation.stop_strings import Stops

words = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4)
texts = st.lists(st.text("abc", max_size=6), max_size=6)


def complete(text: str, stop: list[str]) -> tuple[int, int] | None:
    """Where the first complete stop string ends, and the length of the longest that ends there."""
    for end in range(1, len(text) + 1):
        found = [len(word) for word in stop if text[:end].endswith(word)]
        if found:
            return end, max(found)
    return None


def beginning(text: str, stop: list[str]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    ends = range(len(text), 0, -1)
    return next((n for n in ends if any(word.startswith(text[-n:]) for word in stop)), 0)


@given(stop=words, pieces=texts)
def test_matches_equal_those_of_the_naive_search(stop: list[str], pieces: list[str]) -> None:
    stops, so_far = Stops(stop), ""
    for piece in pieces:
        found = stops.feed(piece)
        expected = complete(so_far + piece, stop)
        if expected is not None:
            assert found == (expected[0] - len(so_far), expected[1])
            return
        so_far += piece
        assert found is None
        assert stops.pending == beginning(so_far, stop)


def test_every_short_stop_string_is_found_in_every_short_text() -> None:
    strings = ["".join(letters) for n in range(1, 7) for letters in product("ab", repeat=n)]
    for word in strings[:30]:  # up to four letters
        for text in strings:
            assert Stops([word]).feed(text) == complete(text, [word]), (word, text)


def test_without_stop_strings_nothing_is_held() -> None:
    stops = Stops(())
    assert stops.feed("anything") is None
    assert stops.pending == 0


def lines_run(stop: str, text: str) -> int:
    """Number of executed lines of `stop_strings.py`."""
    number = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal number
        number += event == "line"
        return trace if frame.f_code.co_filename.endswith("generation/stop_strings.py") else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        stops = Stops([stop])
        for letter in text:
            stops.feed(letter)
    finally:
        sys.settrace(before)
    return number


def test_four_times_the_length_takes_four_times_the_work() -> None:
    """A text that is almost the stop string, one character for each token."""
    short, long = (lines_run("a" * n + "b", "a" * (2 * n)) for n in (200, 800))
    assert long < 5 * short
