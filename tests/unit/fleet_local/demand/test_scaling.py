"""The number of servers of a model that serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_contract.api.control import Order
from fleet_local.demand.decide import State
from fleet_local.demand.scaling import refusal
from fleet_local.errors import StartError
from support.demand_fleet import SIZE, Machine


async def test_servers_are_added_and_removed(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", budget=3 * SIZE)
    member = fleet.members["a"]
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 3)]
    await fleet.pass_time(1, a=1)
    assert [each.name for each in member.services] == ["a", "a #2", "a #3"]
    assert [each.running for each in fleet.made] == [True, True]
    assert (member.size, member.progress) == (3 * SIZE, "")
    fleet.orders = [Order("a", 1)]
    await fleet.pass_time(1, a=1)
    assert [each.name for each in member.services] == ["a"]
    assert not any(each.running for each in fleet.made)
    assert fleet.processes["a"].running
    assert member.size == SIZE
    assert fleet.lines[1:] == ["a has 3 servers", "a has 1 server"]


async def test_a_model_that_sleeps_starts_with_its_new_number(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a")
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 0)]
    await fleet.pass_time(1)
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(0)
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "ready"}
    assert fleet.made[0].running
    fleet.orders = [Order("a", 0)]
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "asleep"}
    assert not fleet.made[0].running
    await fleet.pass_time(1, a=1)
    assert len(fleet.members["a"].services) == 2
    assert fleet.made[0].running


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StartError("No such class.", "Its log: x"), "No such class"),
        (OSError(12, "x"), "OSError(12, 'x')"),
    ],
)
async def test_a_server_that_does_not_start_leaves_the_others(
    machine: Callable[..., Machine], failure: Exception, reason: str
) -> None:
    fleet = machine("a")
    await fleet.pass_time(1, a=1)
    fleet.failure = failure
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    member = fleet.members["a"]
    assert (len(member.services), member.growing, member.size) == (1, [], SIZE)
    assert member.progress == f"not scaled: {reason}"
    await fleet.pass_time(60, a=1)
    assert member.progress == ""


async def test_what_does_not_fit_is_refused(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", budget=3 * SIZE)
    await fleet.pass_time(1, a=1, b=1)
    fleet.orders = [Order("a", 3)]
    await fleet.pass_time(1, a=1)
    assert not fleet.made
    assert fleet.members["a"].progress == (
        "not scaled: it needs about 200 MiB more of memory, and 100 MiB of MEMORY_BUDGET is free:"
        " unload another model"
    )


@pytest.mark.parametrize(
    ("fields", "servers", "expected"),
    [
        ({"minReplicas": 2}, 1, "minReplicas is 2"),
        ({"maxReplicas": 2}, 3, "maxReplicas is 2"),
        ({}, 2, ""),
    ],
)
def test_bounds_of_the_spec(
    machine: Callable[..., Machine], fields: dict[str, int], servers: int, expected: str
) -> None:
    member = machine("a", a=fields).members["a"]
    assert refusal(member, servers, SIZE) == expected
    member.state = State.STARTING
    assert refusal(member, 2, SIZE) in ("it is starting or stopping", expected)
