"""The number of servers of a model that serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fleet_contract.api.control import Order
from fleet_local.demand.decide import State
from fleet_local.demand.scaling import refusal
from fleet_local.errors import StartError
from support.demand_fleet import SIZE, Machine

Until = Callable[..., Awaitable[None]]


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


async def test_a_server_is_removed_once_its_requests_have_ended(
    machine: Callable[..., Machine], until: Until
) -> None:
    fleet = machine("a", budget=3 * SIZE)
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    (added,) = fleet.made
    added.in_flight = 1
    fleet.orders = [Order("a", 1)]
    await fleet.pass_time(1, a=1)
    member = fleet.members["a"]
    assert (len(member.services), added.running, member.size) == (1, True, 2 * SIZE)
    assert member.progress == "scaling to 1 servers"
    added.in_flight = 0
    await until(lambda: not member.leaving)
    assert (added.running, member.size) == (False, SIZE)


async def test_a_request_that_does_not_end_keeps_a_server_for_its_time_only(
    machine: Callable[..., Machine], until: Until
) -> None:
    fleet = machine("a", budget=3 * SIZE, a={"limits": {"requestTimeout": 0.05}})
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    (added,) = fleet.made
    added.in_flight = 1
    fleet.orders = [Order("a", 1)]
    await fleet.pass_time(1, a=1)
    await until(lambda: not fleet.members["a"].leaving)
    assert not added.running


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
    assert fleet.states() == {"a": "scaled_to_zero"}
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


async def test_of_orders_at_the_same_time_the_first_is_followed(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a", budget=10 * SIZE)
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 2), Order("a", 3)]
    await fleet.pass_time(1, a=1)
    assert [each.name for each in fleet.members["a"].services] == ["a", "a #2"]
    assert [each.name for each in fleet.made] == ["a #2"]
    fleet.orders = [Order("a", 3), Order("a", 1)]
    await fleet.pass_time(1, a=1)
    assert len(fleet.members["a"].services) == sum(each.running for each in fleet.made) + 1 == 3


async def test_orders_at_the_same_time_share_the_memory(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", budget=3 * SIZE)
    await fleet.pass_time(1, a=1, b=1)
    fleet.orders = [Order("a", 2), Order("b", 2)]
    await fleet.pass_time(1, a=1, b=1)
    assert [len(fleet.members[name].services) for name in ("a", "b")] == [2, 1]
    assert "is free: unload another model" in fleet.members["b"].progress


async def test_a_model_that_is_woken_meanwhile_starts_with_its_new_number(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a", budget=3 * SIZE)
    await fleet.pass_time(1, a=1)
    fleet.orders = [Order("a", 0)]
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "scaled_to_zero"}
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "ready"}
    assert [each.name for each in fleet.members["a"].services] == ["a", "a #2"]
    assert fleet.made[0].running


async def test_servers_that_cannot_be_made_are_reported(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    await fleet.pass_time(1, a=1)
    fleet.make_failure = OSError(99, "no port is free")
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    assert fleet.members["a"].progress == "not scaled: OSError(99, 'no port is free')"
    fleet.make_failure = None
    fleet.orders = [Order("a", 2)]
    await fleet.pass_time(1, a=1)
    assert len(fleet.members["a"].services) == 2


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
    assert refusal(member, 2, SIZE) == "it is starting or stopping"
