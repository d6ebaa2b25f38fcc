"""The number of servers: tables of spec, load and previous state."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.decide.autoscale import Load, Target, target
from fleet_operator.timestamps import render
from support.operator_objects import NOW

QUIET = Load(0, 0, complete=True)
CREATED = NOW - 3600


def decide(
    spec: dict[str, Any],
    load: Load | None = QUIET,
    past: Scaling | None = None,
    wake: str | None = None,
    created: float = CREATED,
) -> Target:
    whole = ModelSpec.model_validate({"model": "m", **spec})
    return target(whole, load, past, wake, created, NOW, delay=60)


def was(desired: int, active: float = 3600, seen: int | None = None, **fields: Any) -> Scaling:
    """A previous state; `active` and `low` in seconds ago."""
    if (low := fields.pop("low", None)) is not None:
        fields["low_since"] = render(NOW - low)
    return Scaling(
        desired_replicas=desired,
        last_active_time=render(NOW - active),
        requests_seen=seen,
        **fields,
    )


@pytest.mark.parametrize(
    ("spec", "replicas", "reason"),
    [
        ({}, 1, "Fixed"),
        ({"replicas": 3}, 3, "Fixed"),
        ({"replicas": 3, "minReplicas": 5}, 3, "Fixed"),
        ({"replicas": 0}, 0, "Stopped"),
        ({"replicas": 0, "targetInFlight": 1, "maxReplicas": 3}, 0, "Stopped"),
        ({"engine": "remote", "remote": {"address": "http://x"}, "replicas": 3}, 0, "Remote"),
    ],
)
def test_without_autoscaling_the_spec_decides(
    spec: dict[str, Any], replicas: int, reason: str
) -> None:
    found = decide(spec, load=Load(100, 100, complete=True), wake=render(NOW))
    assert (found.replicas, found.reason, found.scaling) == (replicas, reason, None)


AIM = {"targetInFlight": 4, "minReplicas": 1, "maxReplicas": 5}


@pytest.mark.parametrize(
    ("spec", "in_flight", "present", "replicas"),
    [
        (AIM, 0, 1, 1), (AIM, 4, 1, 1), (AIM, 5, 1, 2), (AIM, 16, 1, 4), (AIM, 1000, 1, 5),
        ({**AIM, "minReplicas": 2}, 0, 2, 2), ({**AIM, "minReplicas": 0}, 0, 1, 1),
        ({"targetInFlight": 4, "replicas": 3}, 1000, 1, 3),
    ],
)  # fmt: skip
def test_scaling_up_is_immediate_and_bounded(
    spec: dict[str, Any], in_flight: int, present: int, replicas: int
) -> None:
    found = decide(spec, Load(in_flight, 0, complete=True), was(present))
    assert (found.replicas, found.reason) == (replicas, "Load")


@pytest.mark.parametrize(
    ("past", "in_flight", "replicas", "low_peak"),
    [
        (was(5), 4, 5, 1),  # low just now
        (was(5, low=59, low_peak=2), 4, 5, 2),  # not low for long enough
        (was(5, low=60, low_peak=2), 4, 2, 1),  # down to the most wanted meanwhile
        (was(5, low=60, low_peak=1), 12, 3, None),  # the present load counts too
        (was(5, low=600, low_peak=1), 0, 1, None),
        (was(2, low=59, low_peak=1), 8, 2, None),  # not low any more
    ],
)
def test_scaling_down_is_delayed(
    past: Scaling, in_flight: int, replicas: int, low_peak: int | None
) -> None:
    found = decide(AIM, Load(in_flight, 0, complete=True), past)
    assert found.scaling is not None
    assert (found.replicas, found.scaling.low_peak) == (replicas, low_peak)


def test_the_spec_may_set_the_delay() -> None:
    past = was(5, low=6, low_peak=1)
    assert decide({**AIM, "scaleDownDelay": 5}, QUIET, past).replicas == 1
    assert decide({**AIM, "scaleDownDelay": 0}, QUIET, was(5, low=0)).replicas == 1


@pytest.mark.parametrize(
    ("load", "replicas"),
    [(None, 4), (Load(0, 0, complete=False), 4), (Load(20, 0, complete=False), 5)],
)
def test_nothing_is_scaled_down_while_a_router_does_not_respond(
    load: Load | None, replicas: int
) -> None:
    found = decide(AIM, load, was(4, low=600, low_peak=1))
    assert found.replicas == replicas
    assert found.scaling is not None
    assert found.scaling.reason == ("RoutersUnknown" if load is None else "RouterSilent")


IDLE = {"scaleToZeroAfter": 300}


@pytest.mark.parametrize(
    ("load", "past", "wake", "replicas"),
    [
        (QUIET, None, None, 0),  # made an hour ago, never used
        (QUIET, was(1, active=299), None, 1),
        (QUIET, was(1, active=300), None, 0),
        (Load(1, 7, complete=True), was(1, active=300, seen=7), None, 1),
        (Load(0, 8, complete=True), was(1, active=300, seen=7), None, 1),  # came and went
        (Load(0, 2, complete=True), was(1, active=300, seen=7), None, 0),  # a router restarted
        (Load(0, 2, complete=True), was(0, active=900, seen=7), None, 0),  # and wakes nobody
        (Load(0, 9, complete=False), was(1, active=300, seen=7), None, 1),  # who knows
        (None, was(1, active=300), None, 1),
        (None, was(0, active=300), None, 0),
        (QUIET, was(0, active=9000), render(NOW - 299), 1),
        (QUIET, was(0, active=9000), render(NOW - 300), 0),
        (QUIET, was(0, active=9000), "soon", 0),
        (QUIET, was(0, active=9000), render(NOW + 9999), 1),  # a router's clock is ahead
        (Load(1, 0, complete=False), was(0, active=9000), None, 1),  # a request is held
    ],
)
def test_scaling_to_zero_and_back(
    load: Load | None, past: Scaling | None, wake: str | None, replicas: int
) -> None:
    found = decide(IDLE, load, past, wake)
    assert found.replicas == replicas
    assert found.reason == ("Load" if replicas else "Idle")
    assert found.scaling is not None
    assert found.scaling.desired_replicas == replicas


def test_a_starting_server_is_not_stopped_as_idle() -> None:
    whole = ModelSpec.model_validate({"model": "m", **IDLE})
    for past, starting, replicas in (
        (None, True, 1), (was(1, active=900), True, 1), (was(1, active=900), False, 0),
        (was(0, active=900), True, 0),
    ):  # fmt: skip
        found = target(whole, QUIET, past, None, CREATED, NOW, 60, starting)
        assert found.replicas == replicas


def test_the_idle_time_counts_from_when_a_server_became_ready() -> None:
    assert decide(IDLE, QUIET, was(1, active=900), created=NOW - 299).replicas == 1
    assert decide(IDLE, QUIET, was(1, active=900), created=NOW - 300).replicas == 0


def test_a_wake_time_in_the_future_counts_as_now() -> None:
    found = decide(IDLE, QUIET, was(0, active=9000), render(NOW + 9999))
    assert found.scaling is not None
    assert found.scaling.last_active_time == render(NOW)
    assert found.requeue_after == 300


def test_the_minimum_applies_to_an_active_model_only() -> None:
    spec = {**IDLE, "minReplicas": 2, "maxReplicas": 4}
    assert decide(spec, QUIET, was(2, active=10)).replicas == 2
    assert decide(spec, QUIET, was(2, active=300)).replicas == 0


def test_an_hpa_may_own_the_replicas_of_an_active_model() -> None:
    assert decide({**IDLE, "replicas": 4}, QUIET, was(1, active=10)).replicas == 4


def test_activity_is_recorded_periodically() -> None:
    busy = Load(3, 9, complete=True)
    recent = decide(IDLE, busy, was(1, active=14, seen=5)).scaling
    assert recent is not None
    assert (recent.last_active_time, recent.requests_seen) == (render(NOW - 14), 5)
    later = decide(IDLE, busy, was(1, active=15, seen=5)).scaling
    assert later is not None
    assert (later.last_active_time, later.requests_seen) == (render(NOW), 9)
    eager = decide({"scaleToZeroAfter": 3}, busy, was(1, active=1, seen=5)).scaling
    assert eager is not None
    assert eager.last_active_time == render(NOW)


def test_requeue_times() -> None:
    assert decide(IDLE, QUIET, was(1, active=100)).requeue_after == 200
    assert decide(AIM, QUIET, was(3, low=20, low_peak=1)).requeue_after == 40
    assert decide(AIM, QUIET, was(1)).requeue_after is None
    assert decide(IDLE, QUIET, was(0)).requeue_after is None


def test_activity_after_a_router_restart_is_compared_with_the_new_counter() -> None:
    restarted = decide(IDLE, Load(0, 2, complete=True), was(1, active=10, seen=7)).scaling
    assert restarted is not None
    assert restarted.requests_seen == 2
    # A request that came and went since is activity, although 3 is less than 7.
    past = was(1, active=300, seen=restarted.requests_seen)
    assert decide(IDLE, Load(0, 3, complete=True), past).replicas == 1


def test_the_counter_is_not_lowered_by_a_scrape_without_all_routers() -> None:
    partial = decide(IDLE, Load(0, 2, complete=False), was(1, active=10, seen=7)).scaling
    assert partial is not None
    assert partial.requests_seen == 7


def test_activity_is_recorded_after_a_third_of_the_idle_time() -> None:
    busy = Load(1, 9, complete=True)
    for active, noted in ((3, NOW - 3), (4, NOW)):
        scaling = decide({"scaleToZeroAfter": 12}, busy, was(1, active=active, seen=9)).scaling
        assert scaling is not None
        assert scaling.last_active_time == render(noted)


def test_a_time_that_has_passed_is_not_requeued() -> None:
    assert (
        decide(IDLE, Load(0, 9, complete=False), was(1, active=300, seen=9)).requeue_after is None
    )
    assert decide(IDLE, Load(0, 9, complete=False), was(1, active=299, seen=9)).requeue_after == 1


def test_the_earlier_of_two_requeue_times_is_used() -> None:
    both = {**IDLE, **AIM}
    assert decide(both, QUIET, was(3, active=100, low=20, low_peak=1)).requeue_after == 40
    assert decide(both, QUIET, was(3, active=290, low=20, low_peak=1)).requeue_after == 10


def test_a_low_load_without_a_known_peak() -> None:
    found = decide(AIM, QUIET, was(5, low=59))
    assert found.scaling is not None
    assert (found.replicas, found.scaling.low_peak) == (5, 1)
    assert decide(AIM, Load(8, 0, complete=True), was(5, low=60)).replicas == 2


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({**AIM, "replicas": 3}, 3),
        ({**AIM, "replicas": 9}, 5),
        ({**AIM, "minReplicas": 2}, 2),
        ({"targetInFlight": 4}, 1),
        ({"targetInFlight": 4, "minReplicas": 3}, 3),
        ({"targetInFlight": 4, "minReplicas": 0, "replicas": 2}, 2),
        ({**IDLE, "replicas": 3}, 3),
        ({**IDLE, "minReplicas": 2}, 2),
        ({**IDLE, "replicas": 3, "maxReplicas": 2}, 2),
    ],
)
def test_the_first_number_is_the_specs_within_bounds(spec: dict[str, Any], replicas: int) -> None:
    assert decide(spec, None, created=NOW).replicas == replicas


def test_the_state_while_the_load_is_low() -> None:
    scaling = decide(AIM, Load(8, 0, complete=True), was(5)).scaling
    assert scaling is not None
    assert (scaling.low_since, scaling.low_peak) == (render(NOW), 2)
    later = decide(AIM, Load(4, 0, complete=True), was(5, low=30, low_peak=2)).scaling
    assert later is not None
    assert (later.low_since, later.low_peak) == (render(NOW - 30), 2)
    down = decide(AIM, Load(4, 0, complete=True), was(5, low=60, low_peak=3)).scaling
    assert down is not None
    assert (down.desired_replicas, down.low_since, down.low_peak) == (3, render(NOW), 1)
