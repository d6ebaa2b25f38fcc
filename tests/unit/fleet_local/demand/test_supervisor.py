"""Models that start and stop by a router's reports; router and processes are stand-ins."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fleet_contract.api.control import Order
from fleet_contract.api.load_report import ReportedLoad
from fleet_local.demand import supervisor as module
from fleet_local.demand.decide import State
from fleet_local.demand.member import FAILED_SECONDS
from fleet_local.errors import StartError
from fleet_prepare.errors import CannotServe
from support.demand_fleet import SIZE, Machine

Until = Callable[..., Awaitable[None]]


async def test_a_request_starts_a_model_and_the_idlest_yields(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a", "b", "c")
    await fleet.pass_time(1, a=1)
    await fleet.pass_time(1, b=1)
    assert fleet.states() == {"a": "ready", "b": "ready", "c": "scaled_to_zero"}
    await fleet.pass_time(1, c=1)  # stops a
    await fleet.pass_time(1, c=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready", "c": "ready"}
    assert not fleet.processes["a"].running
    assert fleet.lines == [
        "a is ready after 0.0 s", "b is ready after 0.0 s", "a is stopped until a request comes",
        "c is ready after 0.0 s",
    ]  # fmt: skip


async def test_waiting_for_busy_models(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", budget=SIZE)
    await fleet.pass_time(1, a=1)
    for _ in range(5):
        await fleet.pass_time(1, a=1, b=1)
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero"}
    assert fleet.members["b"].progress == "waiting for memory of other models"
    await fleet.pass_time(1, b=1)
    await fleet.pass_time(1, b=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}
    assert fleet.members["b"].progress == ""


async def test_a_request_that_comes_before_the_stop_keeps_the_model(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a", a={"scaleToZeroAfter": 10})
    await fleet.pass_time(1, a=1)
    fleet.router_follows = False
    await fleet.pass_time(11)
    assert fleet.states() == {"a": "stopping"}
    fleet.loads["a"] = ReportedLoad(1, 0.0)
    fleet.router_follows = True
    await fleet.settle()
    assert fleet.states() == {"a": "ready"}
    assert fleet.processes["a"].running


async def test_a_router_that_does_not_confirm_keeps_the_model(
    machine: Callable[..., Machine], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.05)
    fleet = machine("a", a={"scaleToZeroAfter": 10})
    await fleet.pass_time(1, a=1)
    fleet.router_follows = False
    await fleet.pass_time(11)
    await until(lambda: fleet.members["a"].state is State.READY)
    assert fleet.processes["a"].running


async def test_idle_models_sleep_and_wake(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", a={"scaleToZeroAfter": 10})
    await fleet.pass_time(1, a=1, b=1)
    await fleet.pass_time(9)
    await fleet.pass_time(0.5)
    assert fleet.states() == {"a": "ready", "b": "ready"}
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}
    await fleet.pass_time(60)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}
    await fleet.pass_time(1, a=1)
    assert fleet.processes["a"].starts == 2


async def test_a_schedule_wakes_a_model_until_it_is_idle(
    machine: Callable[..., Machine],
) -> None:
    """The clock begins at 00:16:40."""
    often = {"scaleToZeroAfter": 100, "wakeAt": [{"schedule": "20,40 * * * *"}]}
    fleet = machine("a", "b", "c", a=often, c={"yieldsAfter": 9000})
    await fleet.pass_time(1, b=1)
    await fleet.pass_time(198)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready", "c": "scaled_to_zero"}
    await fleet.pass_time(1)
    assert fleet.states()["a"] == "ready"
    await fleet.pass_time(99)
    assert fleet.states()["a"] == "ready"
    await fleet.pass_time(2)
    assert fleet.states()["a"] == "scaled_to_zero"
    # At the next time there is no place: it waits for one that may yield.
    await fleet.pass_time(1, c=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready", "c": "ready"}
    await fleet.pass_time(1097, b=1)
    await fleet.pass_time(1, b=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready", "c": "ready"}
    await fleet.pass_time(1)
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero", "c": "ready"}


async def test_a_request_that_was_refused_starts_the_model_too(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a")
    fleet.now += 60
    fleet.loads["a"] = ReportedLoad(0, 0.1)
    await fleet.pass_time(0)
    assert fleet.states() == {"a": "ready"}


async def test_a_model_that_serves_as_a_fallback_is_busy(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a", "b", budget=SIZE, a={"fallback": "b"}, b={"scaleToZeroAfter": 5})
    await fleet.pass_time(1, b=1)
    for _ in range(3):
        await fleet.pass_time(10, a=1)
        assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}


async def test_a_failed_start_is_not_repeated_at_once(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    fleet.processes["a"].failure = StartError("No such class.", "Its log: x")
    await fleet.pass_time(1, a=1)
    assert (fleet.states(), fleet.members["a"].failure) == (
        {"a": "scaled_to_zero"},
        "No such class",
    )
    assert fleet.lines == ["a failed to start: No such class. Its log: x"]
    await fleet.pass_time(FAILED_SECONDS / 2, a=1)
    assert fleet.processes["a"].starts == 1
    fleet.processes["a"].failure = None
    await fleet.pass_time(FAILED_SECONDS, a=1)
    assert fleet.states() == {"a": "ready"}


async def test_failures_in_a_row_are_repeated_less_and_less_often(
    machine: Callable[..., Machine],
) -> None:
    fleet = machine("a")
    fleet.processes["a"].failure = StartError("No such class.")
    await fleet.pass_time(1, a=1)
    for number, pause in enumerate((30, 60, 120, 240, 300, 300), start=1):
        await fleet.pass_time(pause - 1, a=1)
        assert fleet.processes["a"].starts == number
        await fleet.pass_time(1, a=1)
        assert fleet.processes["a"].starts == number + 1


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "Cannot allocate memory"), ValueError()])
async def test_other_errors_of_a_start_end_it(
    machine: Callable[..., Machine], error: Exception
) -> None:
    fleet = machine("a", "b", budget=SIZE)
    fleet.processes["a"].failure = error
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "scaled_to_zero"}
    assert fleet.members["a"].failure.startswith(f"{type(error).__name__}: ")
    await fleet.pass_time(1, b=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}


async def test_routes_that_cannot_be_written_stop_no_model(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = machine("a", a={"scaleToZeroAfter": 10})
    await fleet.pass_time(1, a=1)
    full = OSError(errno.ENOSPC, "No space left on device")
    published: list[OSError] = []

    def publish() -> int:
        published.append(full)
        if len(published) == 2:  # the first one ends the pass, which is repeated
            raise full
        return fleet._publish()

    actions = replace(fleet.supervisor._actions, publish=publish)
    monkeypatch.setattr(fleet.supervisor, "_actions", actions)
    await fleet.pass_time(11)
    assert fleet.states() == {"a": "ready"}
    assert "a is not stopped" in fleet.lines[-1]
    await fleet.pass_time(0)
    assert fleet.states() == {"a": "scaled_to_zero"}


async def test_a_model_beyond_the_budget_is_refused(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", budget=SIZE - 1)
    await fleet.pass_time(1, a=1)
    assert fleet.members["a"].failure == (
        "needs about 100 MiB of memory, and MEMORY_BUDGET is 100 MiB"
    )
    assert not fleet.processes["a"].starts


async def test_weights_are_fetched_first(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    member = fleet.members["a"]
    member.prepared = None
    await fleet.pass_time(1, a=1)
    assert member.progress == "fetching weights 42 %"
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "scaled_to_zero"}
    fleet.preparing.release.set()
    await fleet.settle()
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "ready"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotServe("a holds no weights.", "Name others."), "a holds no weights"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    ],
)
async def test_weights_that_cannot_be_served(
    machine: Callable[..., Machine], error: Exception, reason: str
) -> None:
    fleet = machine("a")
    fleet.members["a"].prepared = None
    fleet.preparing.error = error
    fleet.preparing.release.set()
    await fleet.pass_time(1, a=1)
    assert fleet.members["a"].failure == reason
    await fleet.pass_time(1, a=1)
    hint = getattr(error, "hint", "")
    assert fleet.lines == [f"a failed to start: {reason}. {hint}"]


async def test_the_measured_peak_counts(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", budget=2 * SIZE)
    await fleet.pass_time(1, a=1)
    fleet.measured = SIZE + 1
    await fleet.supervisor._measure(fleet.members["a"])
    fleet.measured = SIZE
    await fleet.supervisor._measure(fleet.members["a"])
    assert fleet.members["a"].size == SIZE + 1
    await fleet.pass_time(1, a=1, b=1)
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero"}


async def test_orders_to_load_and_unload(machine: Callable[..., Machine]) -> None:
    fleet = machine("a", "b", a={"minReplicas": 1})
    fleet.orders = [Order("a"), Order("b", 0), Order("gone")]
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero"}
    fleet.orders = [Order("a", 0)]
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero"}  # it has a request in flight
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "scaled_to_zero"}
    await fleet.pass_time(1, b=1)
    await fleet.pass_time(1, b=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "ready", "b": "ready"}


async def test_an_order_to_unload_revokes_one_to_load(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    member = fleet.members["a"]
    member.prepared = None
    fleet.orders = [Order("a")]
    await fleet.pass_time(1)
    assert member.progress == "fetching weights 42 %"
    fleet.orders = [Order("a", 0)]
    await fleet.pass_time(1)
    fleet.preparing.release.set()
    await fleet.settle()
    await fleet.pass_time(1)
    assert (fleet.states(), fleet.processes["a"].starts) == ({"a": "scaled_to_zero"}, 0)
    await fleet.pass_time(1, a=1)
    assert fleet.states() == {"a": "ready"}


async def test_an_order_is_tried_again_after_a_failure(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    fleet.processes["a"].failure = StartError("No such class.")
    fleet.orders = [Order("a")]
    await fleet.pass_time(1)
    assert fleet.members["a"].failure == "No such class"
    fleet.processes["a"].failure = None
    fleet.orders = [Order("a")]
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "ready"}


async def test_orders_of_the_console_come_with_the_report(machine: Callable[..., Machine]) -> None:
    fleet = machine("a")
    fleet.console_orders = [Order("a")]
    await fleet.pass_time(1)
    assert fleet.states() == {"a": "ready"}


async def test_orders_of_the_console_are_followed_while_a_stop_is_confirmed(
    machine: Callable[..., Machine], until: Until
) -> None:
    fleet = machine("a", "b", a={"scaleToZeroAfter": 10})
    await fleet.pass_time(1, a=1)
    fleet.router_follows = False
    await fleet.pass_time(11)
    assert fleet.states() == {"a": "stopping", "b": "scaled_to_zero"}
    fleet.console_orders = [Order("b")]
    await until(lambda: not fleet.console_orders)
    fleet.router_follows = True
    await until(lambda: fleet.states()["a"] == "scaled_to_zero")
    await fleet.pass_time(0)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready"}


async def test_two_models_of_one_caller_are_not_loaded_in_turns_for_every_request(
    machine: Callable[..., Machine],
) -> None:
    """Each stays for as long as its start took; who waits has the time until then."""
    fleet = machine("a", "b", "urgent", budget=SIZE, urgent={"priority": 1})
    for process in fleet.processes.values():
        process.seconds = 20.0
    await fleet.pass_time(1, a=1)
    await fleet.pass_time(5, b=1)
    waits = fleet.members["b"]
    assert fleet.states() == {"a": "ready", "b": "scaled_to_zero", "urgent": "scaled_to_zero"}
    assert (waits.progress, waits.seconds_left) == (
        "waiting for memory of other models, 15 s", 15.0
    )  # fmt: skip
    await fleet.pass_time(14, b=1)
    assert fleet.states()["a"] == "ready"
    await fleet.pass_time(1, b=1)  # stops a
    await fleet.pass_time(0, b=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "ready", "urgent": "scaled_to_zero"}
    await fleet.pass_time(1, a=1)
    assert fleet.members["a"].seconds_left == 39.0  # 19 for b, and its own start
    await fleet.pass_time(1, urgent=1)  # of a higher priority: b yields at once
    await fleet.pass_time(0, urgent=1)
    assert fleet.states() == {"a": "scaled_to_zero", "b": "scaled_to_zero", "urgent": "ready"}
