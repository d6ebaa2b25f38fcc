"""Vectors of responses and their similarity."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_cli.client.vectors import similarities, vectors


def test_vectors_are_in_the_order_of_the_inputs() -> None:
    rows = [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1.0, 2.0]}]
    assert vectors({"data": rows}, 2) == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": [1, 2]},
        {"data": [{"index": 0, "embedding": "AACAPw=="}, {"index": 1, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]},
    ],
)
def test_other_responses(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the response"):
        vectors(body, 2)


def test_similarity_does_not_depend_on_length() -> None:
    found = similarities([[1, 0], [5, 0], [0, 2], [-1, 0], [3, 3], [0, 0]])
    assert [round(number, 3) for number in found[0]] == [1, 1, 0, -1, 0.707, 0]
    assert found[4][0] == found[0][4]
