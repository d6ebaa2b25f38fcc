"""The number of servers: tables of spec, load and previous state."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.decide.scaling.autoscale import NOTED_SECONDS, Load, Target, is_news, target
from fleet_operator.timestamps import render
from support.operator_objects import NOW

QUIET = Load(0, None, complete=True)
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


def used(seconds_ago: float, in_flight: int = 0, *, complete: bool = True) -> Load:
    """A load whose last request was some time ago."""
    return Load(in_flight, NOW - seconds_ago, complete)


def was(desired: int, active: float = 3600, **fields: Any) -> Scaling:
    """A previous state; `active` and `low` in seconds ago."""
    if (low := fields.pop("low", None)) is not None:
        fields["low_since"] = render(NOW - low)
    return Scaling(desired_replicas=desired, last_active_time=render(NOW - active), **fields)


@pytest.mark.parametrize(
    ("spec", "replicas", "reason"),
    [
        ({}, 1, "Fixed"),
        ({"replicas": 3}, 3, "Fixed"),
        ({"replicas": 3, "minReplicas": 5}, 3, "Fixed"),
        ({"replicas": 0}, 0, "Zero"),
        ({"stopped": True}, 0, "Stopped"),
        ({"stopped": True, "replicas": 3}, 0, "Stopped"),
        ({"stopped": True, "targetInFlight": 1, "maxReplicas": 3}, 0, "Stopped"),
        ({"stopped": True, "scaleToZeroAfter": 1}, 0, "Stopped"),
        ({"engine": "remote", "remote": {"address": "http://x"}, "replicas": 3}, 0, "Remote"),
    ],
)
def test_without_autoscaling_the_spec_decides(
    spec: dict[str, Any], replicas: int, reason: str
) -> None:
    found = decide(spec, load=used(0, 100), wake=render(NOW))
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
    found = decide(spec, used(0, in_flight), was(present))
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
    found = decide(AIM, used(0, in_flight), past)
    assert found.scaling is not None
    assert (found.replicas, found.scaling.low_peak) == (replicas, low_peak)


def test_the_spec_may_set_the_delay() -> None:
    past = was(5, low=6, low_peak=1)
    assert decide({**AIM, "scaleDownDelay": 5}, QUIET, past).replicas == 1
    assert decide({**AIM, "scaleDownDelay": 0}, QUIET, was(5, low=0)).replicas == 1


@pytest.mark.parametrize(
    ("load", "replicas"),
    [(None, 4), (used(900, complete=False), 4), (used(0, 20, complete=False), 5)],
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
        (used(0, 1), was(1, active=300), None, 1),
        (used(2), was(1, active=300), None, 1),  # came and went
        (used(299), was(1, active=900), None, 1),
        (used(300), was(1, active=900), None, 0),
        (used(300), was(0, active=900), None, 0),
        (used(2), was(0, active=900), None, 1),
        (Load(0, None, complete=False), was(1, active=300), None, 1),  # who knows
        (None, was(1, active=300), None, 1),
        (None, was(0, active=300), None, 0),
        (QUIET, was(0, active=9000), render(NOW - 299), 1),
        (QUIET, was(0, active=9000), render(NOW - 300), 0),
        (QUIET, was(0, active=9000), "soon", 0),
        (QUIET, was(0, active=9000), render(NOW + 9999), 1),  # a router's clock is ahead
        (used(0, 1, complete=False), was(0, active=9000), None, 1),  # a request is held
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


@pytest.mark.parametrize(
    ("after", "active", "noted"),
    [
        (300, 74, 74), (300, 75, 0), (12, 2, 2), (12, 3, 0),
        (86400, NOTED_SECONDS - 1, NOTED_SECONDS - 1), (86400, NOTED_SECONDS, 0),
    ],
)  # fmt: skip
def test_activity_is_written_after_a_quarter_of_the_idle_time(
    after: int, active: float, noted: float
) -> None:
    for load in (used(0, 3), used(0)):
        found = decide({"scaleToZeroAfter": after}, load, was(1, active=active))
        assert found.scaling is not None
        assert found.scaling.last_active_time == render(NOW - noted)
        if noted:
            assert found.requeue_after == min(after * 0.25, NOTED_SECONDS)


def test_activity_is_not_written_where_nothing_reads_it() -> None:
    for load in (QUIET, used(0, 3)):
        found = decide(AIM, load, was(1))
        assert found.scaling is not None
        assert found.scaling.last_active_time is None


def test_a_busy_model_changes_its_status_only_when_activity_is_noted() -> None:
    past = was(1, active=0)
    for second in range(1, 75):
        whole = ModelSpec.model_validate({"model": "m", **IDLE})
        load = Load(second % 2, NOW + second, complete=True)
        found = target(whole, load, past, None, CREATED, NOW + second, 60)
        assert found.scaling is not None
        assert found.scaling.last_active_time == past.last_active_time


@pytest.mark.parametrize(
    ("spec", "load", "wake", "replicas"),
    [
        (IDLE, QUIET, None, 0), (IDLE, None, None, 0), (IDLE, used(0, 1), None, 1),
        (IDLE, used(2), None, 1), (IDLE, QUIET, render(NOW - 2), 1),
        (AIM, QUIET, None, 0), (AIM, used(0, 1), None, 1), (AIM, QUIET, render(NOW - 2), 1),
        (AIM, QUIET, render(NOW - 86400), 0), (AIM, used(900), None, 0),
    ],
)  # fmt: skip
def test_autoscaling_of_a_model_with_zero_replicas_starts_with_a_request(
    spec: dict[str, Any], load: Load | None, wake: str | None, replicas: int
) -> None:
    for past in (None, was(0)):
        found = decide({**spec, "replicas": 0}, load, past, wake, created=NOW - 1)
        assert (found.replicas, found.reason) == (replicas, "Load" if replicas else "Idle")
    woken = decide({**AIM, "replicas": 0}, QUIET, was(1))
    assert woken.replicas == 1


@pytest.mark.parametrize(
    ("spec", "before", "after", "news"),
    [
        (AIM, None, QUIET, True), (AIM, QUIET, None, True), (AIM, None, None, False),
        (AIM, QUIET, QUIET, False), (AIM, used(0, 3), used(0, 4), True),
        (AIM, used(0, 3), used(0, 3, complete=False), True), (IDLE, used(0, 3), used(0, 4), False),
        (IDLE, used(5), used(0, 1), True), (IDLE, used(0, 1), used(0), True),
        (IDLE, used(5), used(1), False), (IDLE, used(80), used(1), True),
        (IDLE, QUIET, used(1), True), (IDLE, used(75.5), used(1), False),
        (IDLE, used(76), used(1), True),  # a quarter of the time
    ],
)  # fmt: skip
def test_which_changes_of_the_load_are_news(
    spec: dict[str, Any], before: Load | None, after: Load | None, news: bool
) -> None:
    assert is_news(ModelSpec.model_validate({"model": "m", **spec}), before, after) is news


def test_the_first_request_of_an_hour_is_news_with_prewarm() -> None:
    spec = ModelSpec.model_validate({"model": "m", "yieldsAfter": 60, "prewarm": {}})
    for before, after, news in ((used(1), used(-1), True), (used(3), used(1), False)):
        assert is_news(spec, before, after) is news
    plain = ModelSpec.model_validate({"model": "m", "yieldsAfter": 60})
    assert not is_news(plain, used(1), used(-1))


def test_the_hours_of_last_week_outlive_a_stop() -> None:
    spec = {"yieldsAfter": 60, "prewarm": {}, "replicas": 2}
    hours = [int(NOW // 3600) - 3, int(NOW // 3600) - 200]
    past = was(2, active_hours=hours)
    stopped = decide({**spec, "stopped": True}, past=past)
    assert (stopped.replicas, stopped.reason) == (0, "Stopped")
    assert stopped.scaling == Scaling(desired_replicas=0, reason="Stopped", active_hours=hours[:1])
    again = decide(spec, past=stopped.scaling)
    assert (again.replicas, again.reason) == (2, "Load")
    assert again.scaling is not None
    assert again.scaling.active_hours == hours[:1]
    assert decide({**spec, "stopped": True}).scaling is None


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        (AIM, 1), ({**AIM, "minReplicas": 2}, 2), ({"yieldsAfter": 9, "minReplicas": 1}, 1),
        ({"yieldsAfter": 9}, 0), ({"scaleToZeroAfter": 60, "minReplicas": 1}, 0),
        ({**AIM, "replicas": 0}, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reason", ["Yielded", "Idle"])
def test_a_model_that_sleeps_starts_when_its_spec_no_longer_lets_it(
    reason: str, spec: dict[str, Any], replicas: int
) -> None:
    yielded = {"yielded_to": "ns/w", "yielded_at": render(NOW - 900)} if reason == "Yielded" else {}
    past = Scaling(desired_replicas=0, reason=reason, **yielded)
    assert decide(spec, QUIET, past).replicas == replicas


def test_requeue_times() -> None:
    assert decide(IDLE, QUIET, was(1, active=100)).requeue_after == 200
    assert decide(AIM, QUIET, was(3, low=20, low_peak=1)).requeue_after == 40
    assert decide(AIM, QUIET, was(1)).requeue_after is None
    assert decide(IDLE, QUIET, was(0)).requeue_after is None


def test_a_time_that_has_passed_is_not_requeued() -> None:
    unknown = Load(0, None, complete=False)
    assert decide(IDLE, unknown, was(1, active=300)).requeue_after is None
    assert decide(IDLE, unknown, was(1, active=299)).requeue_after == 1


def test_the_earlier_of_two_requeue_times_is_used() -> None:
    both = {**IDLE, **AIM}
    assert decide(both, QUIET, was(3, active=100, low=20, low_peak=1)).requeue_after == 40
    assert decide(both, QUIET, was(3, active=290, low=20, low_peak=1)).requeue_after == 10


def test_a_low_load_without_a_known_peak() -> None:
    found = decide(AIM, QUIET, was(5, low=59))
    assert found.scaling is not None
    assert (found.replicas, found.scaling.low_peak) == (5, 1)
    assert decide(AIM, used(0, 8), was(5, low=60)).replicas == 2


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
    scaling = decide(AIM, used(0, 8), was(5)).scaling
    assert scaling is not None
    assert (scaling.low_since, scaling.low_peak) == (render(NOW), 2)
    later = decide(AIM, used(0, 4), was(5, low=30, low_peak=2)).scaling
    assert later is not None
    assert (later.low_since, later.low_peak) == (render(NOW - 30), 2)
    down = decide(AIM, used(0, 4), was(5, low=60, low_peak=3)).scaling
    assert down is not None
    assert (down.desired_replicas, down.low_since, down.low_peak) == (3, render(NOW), 1)


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({}, 1),
        ({"replicas": 2}, 2),
        ({"minReplicas": 3}, 3),
        ({"minReplicas": 3, "replicas": 4}, 4),
        ({"replicas": 4, "maxReplicas": 2}, 2),
    ],
)
def test_without_a_maximum_a_model_has_the_servers_it_asks_for(
    spec: dict[str, Any], most: int
) -> None:
    assert decide({"targetInFlight": 1, **spec}, used(0, 100)).replicas == most


def test_a_model_that_yields_is_decided_again_once_requests_wake_it() -> None:
    """Its time is up to a second ahead; a request that came before is no news later."""
    spec = ModelSpec.model_validate({"model": "m", "yieldsAfter": 30})
    now = NOW + 0.25
    first = target(spec, QUIET, was(1), None, CREATED, now, 60, yields_to="ns/w")
    assert (first.replicas, first.requeue_after) == (0, 0.75)
    held = Load(1, now + 0.5, complete=True)
    early = target(spec, held, first.scaling, None, CREATED, now + 0.5, 60)
    assert (early.replicas, early.requeue_after) == (0, 0.25)
    assert not is_news(spec, held, held)
    assert target(spec, held, early.scaling, None, CREATED, now + 0.75, 60).replicas == 1
    quiet = target(spec, QUIET, early.scaling, None, CREATED, now + 0.75, 60)
    assert (quiet.replicas, quiet.requeue_after) == (0, None)
