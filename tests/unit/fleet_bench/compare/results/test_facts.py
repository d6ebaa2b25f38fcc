"""Facts about the responses of two sides."""

from __future__ import annotations

import pytest

from fleet_bench.compare.results.facts import of_sequences, of_transcripts, of_vectors


def test_sequences() -> None:
    found = of_sequences("tokens", [[1, 2], [1, 2, 3, 4]], [[1, 2], [1, 9, 3, 4]])
    assert [(fact.name, fact.value, fact.text) for fact in found] == [
        ("equal outputs", 0.5, "1 of 2"),
        ("equal leading tokens", 0.625, "62.5%"),
        ("first different token, median index", 1, "1"),
    ]


def test_equal_sequences_have_no_first_difference() -> None:
    found = of_sequences("words", [["a"]], [["a"]])
    assert [fact.text for fact in found] == ["1 of 1", "100.0%"]


def test_vectors() -> None:
    least, mean = of_vectors([[1, 0], [1, 0]], [[1, 0], [3, 4]])
    assert (least.value, mean.value) == (pytest.approx(0.6), pytest.approx(0.8))
    assert least.text == "0.600000"
    with pytest.raises(ValueError, match="dimensions"):
        of_vectors([[1, 0]], [[1, 0, 0]])


def test_transcripts() -> None:
    rate, equal = of_transcripts(["One two.", "three four"], ["one two", "three for"])
    assert (rate.value, rate.text, equal.text) == (0.25, "25.0%", "1 of 2")
