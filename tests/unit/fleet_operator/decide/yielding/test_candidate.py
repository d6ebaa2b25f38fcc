"""Whether a model may yield to another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.yielding.candidate import candidate, leaving, may_yield_now
from fleet_operator.resources.views import PodView
from fleet_operator.timestamps import render
from support.operator_objects import NOW, model, pod, settings_of
from support.operator_states import settled

Observe = Callable[..., Observed]
QUIET = Load(0, None, complete=True)
READY = NOW - 50
"""When pods of `operator_objects` became ready."""


def seen(observe: Observe, spec: Any = None, *pods: dict[str, Any], **fields: Any) -> Observed:
    raw = {**model(**{"yieldsAfter": 30, **(spec or {})}), "status": fields.pop("status", {})}
    fields = {"load": QUIET, "settings": settings_of(MIN_RESIDENCY="0"), **fields}
    return settled(observe, raw, *(pods or ({"ready": True},)), **fields)


def test_a_model_may_yield_once_it_was_idle_for_its_time(observe: Observe) -> None:
    found = candidate(seen(observe, {"priority": -3}))
    assert found is not None
    assert (found.name, found.priority, found.active) == ("ns/m", -3, READY)
    assert (found.yields_at, found.busy) == (READY + 30, False)
    assert not found.may_yield(READY + 29.9)
    assert found.may_yield(READY + 30)
    used = candidate(seen(observe, load=Load(0, NOW - 12, complete=True)))
    assert used is not None
    assert (used.active, used.yields_at) == (NOW - 12, NOW + 18)


@pytest.mark.parametrize(
    "spec",
    [{"yieldsAfter": None}, {"minReplicas": 1}, {"stopped": True}],
)
def test_pinned_models_and_those_without_the_field_stay(
    observe: Observe, spec: dict[str, Any]
) -> None:
    assert candidate(seen(observe, spec)) is None


@pytest.mark.parametrize(
    "pods", [({},), ({"ready": True}, {}), ({"ready": True, "deleting": True},)]
)
def test_a_model_that_starts_or_leaves_stays(observe: Observe, pods: Any) -> None:
    assert candidate(seen(observe, None, *pods)) is None
    assert candidate(replace(seen(observe), pods=())) is None


def test_pods_that_have_ended_do_not_matter(observe: Observe) -> None:
    evicted = {"phase": "Failed", "running": False}
    found = candidate(seen(observe, None, evicted, {"ready": True}))
    assert found is not None
    assert [pod.name for pod in found.pods] == ["m-1"]
    assert candidate(seen(observe, None, evicted)) is None


@pytest.mark.parametrize("load", [None, Load(0, None, complete=False)])
def test_a_model_of_unknown_load_stays(observe: Observe, load: Load | None) -> None:
    assert candidate(seen(observe, load=load)) is None
    if load is not None:
        assert candidate(seen(observe), [load]) is None


@pytest.mark.parametrize("phase", ["Degraded", "Conflict", "Failed"])
def test_a_model_that_may_not_be_scaled_stays(observe: Observe, phase: str) -> None:
    assert candidate(seen(observe, status={"phase": phase, "reason": "ApplyFailed"})) is None
    assert candidate(seen(observe, status={"phase": "Ready", "reason": "Ready"})) is not None


def test_a_model_that_is_being_deleted_is_left_alone(observe: Observe) -> None:
    observed = seen(observe)
    meta = {**observed.model["metadata"], "deletionTimestamp": render(NOW)}
    assert candidate(replace(observed, model={**observed.model, "metadata": meta})) is None


def test_a_paused_model_stays(observe: Observe) -> None:
    observed = seen(observe)
    meta = {**observed.model["metadata"], "annotations": {"modelfleet.dev/paused": "true"}}
    assert candidate(replace(observed, model={**observed.model, "metadata": meta})) is None


def test_requests_keep_a_model_also_those_of_models_that_fall_back_on_it(observe: Observe) -> None:
    for busy in (
        candidate(seen(observe, load=Load(1, NOW, complete=True))),
        candidate(seen(observe), [QUIET, Load(2, NOW, complete=True)]),
    ):
        assert busy is not None
        assert (busy.busy, busy.yields_at) == (True, NOW + 30)
        assert not busy.may_yield(NOW + 1e9)


@pytest.mark.parametrize(
    ("start", "yields_at"),
    [
        (None, READY + 60),
        ({"totalSeconds": 59}, READY + 60), ({"totalSeconds": 200.5}, READY + 200.5),
        ({"totalSeconds": 200, "scheduleSeconds": 120}, READY + 80),
    ],
)  # fmt: skip
def test_a_model_stays_as_long_as_its_start_took(
    observe: Observe, start: dict[str, Any] | None, yields_at: float
) -> None:
    status = {"coldStart": {**start, "at": render(READY)}} if start else {}
    settings = settings_of(MIN_RESIDENCY="60")
    found = candidate(seen(observe, status=status, settings=settings))
    assert found is not None
    assert found.yields_at == yields_at


def test_the_servers_of_a_model_that_is_scaled_to_zero_leave(observe: Observe) -> None:
    observed = seen(observe)
    assert leaving(observed, "ns/w") == ()
    ref = next(ref for ref in observed.children if ref.kind == "Deployment")
    child = observed.children[ref]
    asleep = {**child, "spec": {**child["spec"], "replicas": 0}}
    observed = replace(observed, children={**observed.children, ref: asleep})
    assert leaving(observed, "ns/w") == observed.pods

    def for_model(name: str) -> dict[str, Any]:
        scaling = {"desiredReplicas": 0, "reason": "Yielded", "yieldedTo": name}
        return {**observed.model, "status": {"scaling": scaling}}

    assert leaving(replace(observed, model=for_model("ns/w")), "ns/w") == observed.pods
    assert leaving(replace(observed, model=for_model("ns/x")), "ns/w") == ()
    assert leaving(replace(observed, children={}), "ns/w") == ()


def test_pods_that_have_ended_are_no_servers(observe: Observe) -> None:
    observed = seen(observe)
    ended = observe(model(), [pod("ended", phase="Succeeded")]).pods
    found = candidate(replace(observed, pods=(*observed.pods, *ended)))
    assert found is not None
    assert found.pods == observed.pods


@pytest.mark.parametrize("pods", [(), ({"ready": True, "deleting": True},)])
@pytest.mark.parametrize(
    ("spec", "status", "load", "expected"),
    [
        ({}, {}, QUIET, True),
        ({}, {}, None, True),
        ({}, {"scaling": {"desiredReplicas": 1, "reason": "Load"}}, QUIET, True),
        ({}, {}, Load(1, NOW, complete=True), False),  # a request came meanwhile
        ({}, {"scaling": {"desiredReplicas": 0, "reason": "Idle"}}, QUIET, False),
        ({"yieldsAfter": None}, {}, QUIET, False),
        ({"minReplicas": 1}, {}, QUIET, False),
    ],
)
def test_servers_that_were_stopped_without_a_status_stay_so(
    observe: Observe, pods: Any, spec: Any, status: Any, load: Load | None, expected: bool
) -> None:
    """The write of the Deployment was followed by a failed one of the status."""
    observed = seen(observe, spec, status=status, load=load)
    ref = Ref("Deployment", "m")
    found = observed.children[ref]
    emptied = {ref: {**found, "spec": {**found["spec"], "replicas": 0}}}
    views = tuple(PodView.parse(pod(f"m-{at}", **each)) for at, each in enumerate(pods))
    observed = replace(observed, pods=views, children={**observed.children, **emptied})
    assert may_yield_now(observed) is expected
    assert not may_yield_now(replace(observed, children={}))
