"""Models that are started ahead of requests. It is Thursday, 12:00."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.decide.scaling.autoscale import Load, Target, target
from fleet_operator.timestamps import render
from support.operator_objects import NOW

HOUR = int(NOW // 3600)
"""Since 1970; it begins now."""
QUIET = Load(0, None, complete=True)
ASLEEP = {"desired_replicas": 0, "reason": "Idle"}


def decide(
    spec: dict[str, Any], past: dict[str, Any] | None = None, now: float = NOW,
    load: Load = QUIET,
) -> Target:  # fmt: skip
    whole = ModelSpec.model_validate({"model": "m", **spec})
    before = Scaling(**(past or ASLEEP))
    return target(whole, load, before, None, NOW - 1e6, now, delay=60)


def daily(time: str, **fields: Any) -> dict[str, Any]:
    """Woken at a time of the day, and stopped after 30 minutes."""
    hour, minute = time.split(":")
    return {"scaleToZeroAfter": 1800, "wakeAt": [{"schedule": f"{minute} {hour} * * *"}], **fields}


@pytest.mark.parametrize(
    ("time", "replicas", "after"),
    [
        ("12:00", 1, 1800.0),
        ("11:31", 1, 60.0),
        ("11:30", 0, 23.5 * 3600),  # idle since then
        ("12:01", 0, 60.0),
        ("11:59", 1, 1740.0),
    ],
)
def test_a_model_is_awake_from_its_time_until_it_is_idle(
    time: str, replicas: int, after: float
) -> None:
    found = decide(daily(time))
    assert (found.replicas, found.requeue_after) == (replicas, after)


def test_a_request_during_that_time_counts_from_its_end() -> None:
    past = {"desired_replicas": 1, "reason": "Load", "last_active_time": render(NOW - 5)}
    found = decide(daily("11:30"), past)
    assert (found.replicas, found.requeue_after) == (1, 1795.0)


def test_a_model_that_yielded_wakes_at_its_time_too() -> None:
    spec = {"yieldsAfter": 60, "wakeAt": [{"schedule": "0 12 * * *"}]}
    yielded = {"desired_replicas": 0, "reason": "Yielded", "yielded_to": "ns/a"}
    earlier = {**yielded, "yielded_at": render(NOW - 60)}
    assert decide(spec, earlier).replicas == 1
    asleep = decide(spec, earlier, NOW - 1)
    assert (asleep.replicas, asleep.reason, asleep.requeue_after) == (0, "Yielded", 1.0)
    # It yielded after its time: nothing wants it until tomorrow.
    assert decide(spec, {**yielded, "yielded_at": render(NOW + 9)}, NOW + 20).replicas == 0


def test_hours_with_requests_are_kept_for_a_week() -> None:
    spec = {"scaleToZeroAfter": 60, "prewarm": {}}
    old = {**ASLEEP, "active_hours": [HOUR - 200, HOUR - 169, HOUR - 168, HOUR - 7]}
    found = decide(spec, old, load=Load(1, NOW, complete=True))
    assert found.scaling is not None
    assert found.scaling.active_hours == [HOUR - 168, HOUR - 7, HOUR]
    ended = decide(spec, ASLEEP, load=Load(0, NOW - 1, complete=True))
    assert ended.scaling is not None
    assert ended.scaling.active_hours == [HOUR - 1]
    unused = decide({"scaleToZeroAfter": 60}, old, load=Load(1, NOW, complete=True))
    assert unused.scaling is not None
    assert unused.scaling.active_hours == []


@pytest.mark.parametrize(
    ("minutes", "replicas", "after"),
    [
        (-11, 0, 60.0),  # until ten minutes before the hour
        (-10, 1, None), (-1, 1, None), (0, 1, None),  # it counts as used until the hour begins
        (4, 1, 60.0), (5, 0, None),  # idle for five minutes
    ],
)  # fmt: skip
def test_a_model_starts_before_the_hours_of_last_week(
    minutes: int, replicas: int, after: float | None
) -> None:
    spec = {"scaleToZeroAfter": 300, "prewarm": {"minutes": 10}}
    past = {**ASLEEP, "active_hours": [HOUR - 168]}
    found = decide(spec, past, NOW + 60 * minutes)
    assert found.replicas == replicas
    if after is not None or not replicas:
        assert found.requeue_after == after


def test_a_model_that_yields_ahead_of_its_hour_does_not_start_again_for_it() -> None:
    spec = {"yieldsAfter": 0, "prewarm": {"minutes": 10}}
    yielded = {**ASLEEP, "reason": "Yielded", "yielded_to": "ns/a", "active_hours": [HOUR - 168]}
    for minutes in (-8, -1, 0, 30):
        past = {**yielded, "yielded_at": render(NOW - 9 * 60)}
        assert decide(spec, past, NOW + 60 * minutes).reason == "Yielded"
    earlier = {**yielded, "yielded_at": render(NOW - 11 * 60)}
    assert decide(spec, earlier, NOW - 10 * 60 - 1).reason == "Yielded"
    assert decide(spec, earlier, NOW - 10 * 60).replicas == 1


def test_requests_of_this_week_start_nothing_this_week() -> None:
    spec = {"scaleToZeroAfter": 300, "prewarm": {"minutes": 60}}
    for hour in (HOUR - 1, HOUR - 24, HOUR - 167 + 1):
        assert decide(spec, {**ASLEEP, "active_hours": [hour]}).replicas == 0
    found = decide(spec, {**ASLEEP, "active_hours": [HOUR - 1]})
    assert found.requeue_after == (168 - 2) * 3600
