"""Digests of JSON values."""

from __future__ import annotations

from fleet_operator.resources.digests import digest


def test_digests_do_not_depend_on_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1})
