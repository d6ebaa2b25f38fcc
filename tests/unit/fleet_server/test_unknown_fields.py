"""Unknown fields are counted; spellings of known ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.metrics import Metrics
from fleet_server.unknown_fields import (
    MAX_UNKNOWN,
    check_spelling,
    count_ignored,
)

KNOWN = ("top_n", "normalize")


def counted(body: dict[str, Any]) -> float:
    metrics = Metrics("m")
    count_ignored(body, KNOWN, metrics)
    lines = metrics.render().decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("modelfleet_ignored_fields_t")
    )


def test_unknown_fields_are_counted_up_to_a_bound() -> None:
    assert counted({"top_n": 1, "normalize": True}) == 0
    assert counted({"top_n": 1, "colour": "red", "size": 3}) == 2
    many = {f"x{number}": 1 for number in range(MAX_UNKNOWN)}
    assert counted(many) == MAX_UNKNOWN
    with pytest.raises(BadRequest, match="101 unknown fields"):
        counted(many | {"one": 1})


@pytest.mark.parametrize("name", ["topN", "TOP_N", "top-n", "top n", "top_n[]", "top_n.x", "topn"])
def test_other_spellings_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedParameter, match="use 'top_n'") as caught:
        counted({name: 1})
    assert caught.value.param == name
    with pytest.raises(UnsupportedParameter, match="use 'normalize'"):
        counted({"Normalize": True})


def test_other_names_are_not() -> None:
    for name in ("", "[]", "top", "top_n2", "n_top", "\u0000", "x" * 100_000):
        check_spelling(name, ["top_n"])
