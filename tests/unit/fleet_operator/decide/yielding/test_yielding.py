"""A model that fits nowhere and the model that stops for it, reconciled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.decide.observed import Observed
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.scaling.neighbours import Candidate, Neighbours
from fleet_operator.resources.views import PodView
from fleet_operator.timestamps import render
from support.operator_objects import NOW, model, node, pod, settings_of
from support.operator_states import again, condition_of, settled

Observe = Callable[..., Observed]
WAKE = "modelfleet.dev/wake-at"
QUIET = Load(0, None, complete=True)
HELD = Load(1, NOW, complete=True)
FULL = Cluster([node("node-a", cpu="4")], {"node-a": {"cpu": 4000, "pods": 1000}})
NOWHERE = {"unschedulable": "0/1 nodes are available: 1 Insufficient cpu."}
AFFINITY = "node(s) didn't match pod anti-affinity rules"
BY_VOLUME = "0/2 nodes: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict."
BY_CLAIM = "0/2 nodes: 1 Too many pods, 1 node(s) had unbound immediate PersistentVolumeClaims."
BY_AFFINITY = f"0/1 nodes: 1 {AFFINITY}. preemption: 1 Insufficient cpu."
REQUESTS = {"resources": {"requests": {"cpu": "4"}}, "scaleToZeroAfter": 900}


def other(**fields: Any) -> Candidate:
    view = PodView.parse(pod("other", ready=True, requests={"cpu": "4"}))
    given = {"priority": 0, "active": NOW - 99, "yields_at": NOW - 1, "busy": False, **fields}
    return Candidate("ns/other", pods=(view,), **given)


def waiting(
    observe: Observe, *pods: dict[str, Any], spec: Any = REQUESTS, **fields: Any
) -> Observed:
    fields = {"load": HELD, "cluster": FULL, **fields}
    return settled(observe, model(**spec), *(pods or (NOWHERE,)), **fields)


def test_a_woken_model_makes_an_idle_one_stop(observe: Observe) -> None:
    observed = waiting(observe)
    first = reconcile(observed)
    assert (first.wants_neighbours, first.yields) == (True, ())
    assert first.status["reason"] == "Unschedulable"
    plan = reconcile(replace(observed, neighbours=Neighbours([other()])))
    assert (plan.wants_neighbours, plan.yields, plan.requeue_after) == (False, ("ns/other",), 2.0)
    assert (plan.status["phase"], plan.status["reason"]) == ("Pending", "WaitingForRoom")
    assert condition_of(plan, "Ready")[2] == f"ns/other stops for it. {NOWHERE['unschedulable']}"
    assert condition_of(plan, "Scheduled")[1] == "Unschedulable"
    assert "roomAt" not in plan.status["scaling"]


def test_the_time_at_which_there_may_be_room_is_kept_while_it_hardly_changes(
    observe: Observe,
) -> None:
    observed = waiting(observe)
    later = replace(observed, neighbours=Neighbours([other(yields_at=NOW + 40)]))
    plan = reconcile(later)
    assert (plan.yields, plan.status["scaling"]["roomAt"]) == ((), render(NOW + 40))
    assert render(NOW + 40) in condition_of(plan, "Ready")[2]
    for drift, shown in ((15, 40), (16, 56)):
        moved = Neighbours([other(busy=True, yields_at=NOW + 40 + drift)])
        after = reconcile(replace(again(later, plan, NOW), neighbours=moved))
        assert after.status["scaling"]["roomAt"] == render(NOW + shown)
        assert render(NOW + shown) in condition_of(after, "Ready")[2]
    nobody = reconcile(replace(again(later, plan, NOW), neighbours=Neighbours()))
    assert (nobody.status["reason"], nobody.requeue_after) == ("Unschedulable", 10.0)
    assert "roomAt" not in nobody.status["scaling"]


@pytest.mark.parametrize(
    ("spec", "fields", "pods"),
    [
        (REQUESTS, {"load": Load(0, NOW - 60, complete=True)}, (NOWHERE,)),  # nobody waits
        (REQUESTS, {"load": None}, (NOWHERE,)),
        (REQUESTS, {"cluster": None}, (NOWHERE,)),  # nodes are unknown
        (REQUESTS, {}, ({"ready": True}, NOWHERE)),  # it serves
        (REQUESTS, {}, ({"running": False},)),  # has a node
        (REQUESTS, {}, ({"unschedulable": BY_AFFINITY},)),
        (REQUESTS, {}, ({"unschedulable": BY_VOLUME},)),  # its volume is on the other node
        (REQUESTS, {}, ({"unschedulable": BY_CLAIM},)),
        ({"resources": REQUESTS["resources"]}, {}, (NOWHERE,)),  # is not scaled by requests
    ],
)  # fmt: skip
def test_who_makes_no_one_stop(
    observe: Observe, spec: dict[str, Any], fields: dict[str, Any], pods: Any
) -> None:
    observed = waiting(observe, *pods, spec=spec, **fields)
    assert not reconcile(observed).wants_neighbours
    assert reconcile(replace(observed, neighbours=Neighbours([other()]))).yields == ()


@pytest.mark.parametrize("lacking", ["1 Insufficient cpu", "1 Too many pods"])
def test_room_is_wanted_where_only_some_nodes_lack_resources(
    observe: Observe, lacking: str
) -> None:
    message = f"0/3 nodes are available: {lacking}, 2 {AFFINITY}."
    assert reconcile(waiting(observe, {"unschedulable": message})).wants_neighbours


def test_a_request_that_gave_up_shortly_ago_counts(observe: Observe) -> None:
    load = Load(0, NOW - 59, complete=True)
    assert reconcile(waiting(observe, load=load)).wants_neighbours
    observed = waiting(observe, load=QUIET)
    meta = {**observed.model["metadata"], "annotations": {WAKE: render(NOW - 9)}}
    woken = replace(observed, model={**observed.model, "metadata": meta})
    assert reconcile(woken).wants_neighbours


IDLE = {"yieldsAfter": 30}


def yielding(observe: Observe, spec: Any = IDLE, **fields: Any) -> Observed:
    fields = {"load": QUIET, "settings": settings_of(MIN_RESIDENCY="0"), **fields}
    return settled(observe, model(**spec), {"ready": True}, yields_to="ns/w", **fields)


def test_a_model_that_yields_sleeps_until_the_next_request(observe: Observe) -> None:
    observed = yielding(observe)
    plan = reconcile(observed)
    assert plan.objects[0]["spec"]["replicas"] == 0
    assert (plan.status["phase"], plan.status["reason"]) == ("ScaledToZero", "Yielded")
    assert condition_of(plan, "Ready") == (
        "True", "Yielded",
        "The model was idle and stopped for ns/w; the next request starts a server.",
    )  # fmt: skip
    assert plan.status["scaling"] == {
        "desiredReplicas": 0, "reason": "Yielded", "yieldedTo": "ns/w",
        "yieldedAt": render(NOW + 1),
    }  # fmt: skip
    assert [event.reason for event in plan.events] == ["Scaled", "Yielded"]
    asleep = replace(again(observed, plan), pods=(), yields_to="")
    for last in (None, NOW - 5, NOW + 0.9):
        still = reconcile(replace(asleep, load=Load(0, last, complete=True)))
        assert still.status["scaling"] == plan.status["scaling"]
        assert still.status["reason"] == "Yielded"
        assert [event.reason for event in still.events] == ["Scaled"]  # the Deployment is unchanged
    for load in (Load(1, NOW, complete=True), Load(0, NOW + 2, complete=True)):
        woken = reconcile(replace(asleep, load=load))
        assert woken.objects[0]["spec"]["replicas"] == 1
        assert woken.status["scaling"] == {"desiredReplicas": 1, "reason": "Load"}
    meta = {**asleep.model["metadata"], "annotations": {WAKE: render(NOW + 3)}}
    woken = reconcile(replace(asleep, model={**asleep.model, "metadata": meta}))
    assert woken.status["phase"] == "Pending"


def asleep(observe: Observe, **fields: Any) -> Observed:
    """The model after it has yielded."""
    observed = yielding(observe)
    return replace(again(observed, reconcile(observed)), pods=(), yields_to="", **fields)


def test_an_order_in_the_second_in_which_a_model_yields_wakes_it(observe: Observe) -> None:
    """`modelfleet load` writes the end of that second."""
    observed = yielding(observe, now=NOW + 0.3)
    plan = reconcile(observed)
    notes = {"annotations": {WAKE: render(NOW + 1)}}
    meta = {**observed.model["metadata"], **notes}
    ordered = replace(observed, model={**observed.model, "metadata": meta}, pods=(), yields_to="")
    early = reconcile(again(ordered, plan, NOW + 0.5))
    assert (early.status["reason"], early.requeue_after) == ("Yielded", 0.5)
    assert reconcile(again(ordered, plan, NOW + 1)).objects[0]["spec"]["replicas"] == 1


def test_a_model_that_yielded_starts_when_the_other_one_has_its_place(observe: Observe) -> None:
    """A server that started earlier could take the place that was made."""
    busy = {"load": Load(1, NOW, complete=True), "unplaced": True}
    for seconds in (2, 60):
        plan = reconcile(asleep(observe, now=NOW + seconds, **busy))
        assert (plan.status["reason"], plan.requeue_after) == ("Yielded", 2.0)
    assert reconcile(asleep(observe, now=NOW + 61, **busy)).objects[0]["spec"]["replicas"] == 1
    quiet = reconcile(asleep(observe, now=NOW + 2, load=QUIET, unplaced=True))
    assert (quiet.status["reason"], quiet.requeue_after) == ("Yielded", None)


@pytest.mark.parametrize(
    ("spec", "load"),
    [
        ({"yieldsAfter": 51}, QUIET), ({}, QUIET), (IDLE, Load(1, NOW, complete=True)),
        (IDLE, Load(0, NOW - 29, complete=True)), (IDLE, Load(0, None, complete=False)),
    ],
)  # fmt: skip
def test_a_model_that_may_not_yield_any_more_stays(
    observe: Observe, spec: dict[str, Any], load: Load
) -> None:
    plan = reconcile(yielding(observe, spec, load=load))
    assert (plan.status["phase"], plan.objects[0]["spec"]["replicas"]) == ("Ready", 1)


def test_without_the_field_a_model_that_yielded_starts_again(observe: Observe) -> None:
    observed = yielding(observe)
    asleep = replace(again(observed, reconcile(observed)), pods=(), yields_to="")
    status = asleep.model["status"]
    plan = reconcile(settled(observe, {**model(), "status": status}, load=QUIET))
    assert plan.objects[0]["spec"]["replicas"] == 1
