"""The texts of the measurements."""

from __future__ import annotations

from fleet_bench.words import text


def test_texts_are_distinct_and_the_same_in_every_run() -> None:
    assert text(5, 8) == text(5, 8)
    assert len({text(number, 8) for number in range(500)}) == 500
    assert len(text(3, 100).split()) == 100
    assert text(7, 1) == "7"
