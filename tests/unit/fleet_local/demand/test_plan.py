"""What starts with the fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local.demand.member import Member
from fleet_local.demand.plan import first, waits_for_requests
from fleet_local.errors import StartError

Spec = Callable[..., ModelSpec]


def member(spec: ModelSpec, size: int) -> Member:
    made = Member(spec, [])
    made.size = size
    return made


@pytest.mark.parametrize(
    ("fields", "on_demand", "waits"),
    [
        ({}, False, False), ({}, True, True), ({"minReplicas": 1}, True, False),
        ({"replicas": 0, "scaleToZeroAfter": 60}, False, True), ({"minReplicas": 0}, True, True),
    ],
)  # fmt: skip
def test_models_that_wait_for_requests(
    spec: Spec, fields: dict[str, Any], on_demand: bool, waits: bool
) -> None:
    assert waits_for_requests(spec(**fields), on_demand=on_demand) is waits


def test_what_fits_starts_and_what_never_will_is_refused(spec: Spec) -> None:
    members = [member(spec(name), size) for name, size in (("a", 4), ("b", 11), ("c", 7))]
    assert first(members, 10, on_demand=False) == [members[0]]
    assert [bool(each.failure) for each in members] == [False, True, False]
    assert first(members, 10, on_demand=True) == []


def test_a_fleet_that_cannot_start_at_all_is_an_error(spec: Spec) -> None:
    with pytest.raises(StartError, match="needs about 9 MiB") as caught:
        first([member(spec(), 9 << 20)], 1 << 20, on_demand=False)
    assert "MEMORY_BUDGET" in caught.value.hint
    pinned = [member(spec(name, minReplicas=1), 6 << 20) for name in ("a", "b")]
    with pytest.raises(StartError, match="pinned models leave 4 MiB"):
        first(pinned, 10 << 20, on_demand=False)
