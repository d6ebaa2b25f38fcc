"""The pause and the restart of one model by annotations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.controller.diff import differs
from fleet_operator.decide.observed import Observed, Ref, Rival
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.names import ANNOTATION_PAUSED, ANNOTATION_RESTARTED
from fleet_operator.pause import is_paused
from support.operator_objects import model
from support.operator_states import again, condition_of, settled

Observe = Callable[..., Observed]


def annotated(raw: dict[str, Any], **annotations: str) -> dict[str, Any]:
    named = {ANNOTATION_PAUSED: annotations.get("paused"),
             ANNOTATION_RESTARTED: annotations.get("restarted")}  # fmt: skip
    given = {name: value for name, value in named.items() if value is not None}
    return {**raw, "metadata": {**raw["metadata"], "annotations": given}}


@pytest.mark.parametrize(
    ("value", "paused"),
    [(None, False), ("true", True), ("", True), ("ture", True), ("false", False), ("False", False)],
)
def test_only_false_ends_a_pause(value: str | None, paused: bool) -> None:
    raw = model() if value is None else annotated(model(), paused=value)
    assert is_paused(raw) is paused


def paused(observe: Observe, before: Observed, **spec: Any) -> Observed:
    raw = annotated({**model(**spec), "status": before.status}, paused="true")
    return replace(before, model=raw, resolution=observe(raw).resolution)


def changes(observed: Observed) -> list[str]:
    """Kinds of the children that would be applied or deleted."""
    decision = reconcile(observed)
    present = observed.children
    applied = [
        child["kind"]
        for child in decision.objects
        if differs(child, present.get(reference(child)) or {"metadata": {}})
    ]
    return applied + [ref.kind for ref in decision.delete]


def reference(child: dict[str, Any]) -> Ref:
    return Ref(child["kind"], child["metadata"]["name"])


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"dtype": "float16"}, {}),
        ({"replicas": 3}, {}),
        ({"engine": "remote", "remote": {"address": "http://far"}}, {}),
        ({}, {"rival": Rival("older", "org/m")}),
        ({"scaleToZeroAfter": 30}, {"load": Load(0, 0, complete=True)}),
        ({"targetInFlight": 1, "maxReplicas": 9}, {"load": Load(9, 9, complete=True)}),
    ],
)
def test_nothing_of_a_paused_model_is_changed(
    observe: Observe, spec: dict[str, Any], fields: dict[str, Any]
) -> None:
    observed = replace(settled(observe, model(), {"ready": True}), **fields)
    going = replace(observed, resolution=observe(model(**spec)).resolution)
    decision = reconcile(going)
    assert decision.objects != observed.children or decision.delete
    decision = reconcile(paused(observe, observed, **spec))
    assert (decision.objects, decision.delete) == ((), ())
    assert condition_of(decision, "Paused")[0] == "True"


def test_a_deleted_child_of_a_paused_model_is_not_created_again(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    service = Ref("Service", "m")
    rest = {ref: child for ref, child in observed.children.items() if ref != service}
    assert reconcile(paused(observe, replace(observed, children=rest))).objects == ()


def test_a_paused_model_without_servers_refuses_requests(observe: Observe) -> None:
    decision = reconcile(paused(observe, settled(observe, model(replicas=0))))
    assert (decision.status["phase"], decision.status["reason"]) == ("Stopped", "Paused")


def test_autoscaling_keeps_its_state_through_a_pause(observe: Observe) -> None:
    spec, load = {"scaleToZeroAfter": 7200}, Load(1, 1, complete=True)
    observed = settled(observe, model(**spec), {"ready": True}, load=load)
    before = reconcile(observed)
    during = reconcile(paused(observe, again(observed, before), **spec))
    assert during.status["scaling"] == before.status["scaling"]


def test_pauses_are_events(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    observed = again(observed, reconcile(observed))
    began = reconcile(paused(observe, observed))
    assert [event.reason for event in began.events] == ["Paused"]
    still = reconcile(paused(observe, again(observed, began)))
    assert still.events == ()
    ended = reconcile(again(observed, began))
    assert [event.reason for event in ended.events] == ["Resumed"]


def test_a_restart_replaces_the_pods(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    observed = again(observed, reconcile(observed))
    raw = annotated(observed.model, restarted="2026-01-01T12:00:00Z")
    decision = reconcile(replace(observed, model=raw))
    template = decision.objects[0]["spec"]["template"]
    assert template["metadata"]["annotations"] == {ANNOTATION_RESTARTED: "2026-01-01T12:00:00Z"}
    assert decision.status["reason"] == "CreatingPods"
    assert condition_of(decision, "RolloutStrategy")[0] == "True"


def test_a_restart_does_not_replace_the_pods_twice(observe: Observe) -> None:
    raw = annotated(model(), restarted="1")
    observed = settled(observe, raw)
    template = reconcile(observed).objects[0]["spec"]["template"]
    version = template["metadata"]["labels"]["modelfleet.dev/template"]
    ready = settled(observe, raw, {"ready": True, "template": version})
    assert reconcile(ready).status["phase"] == "Ready"
    other = settled(
        observe, annotated(model(), restarted="2"), {"ready": True, "template": version}
    )
    assert reconcile(other).status["phase"] == "Progressing"


def test_a_paused_model_with_an_invalid_spec_has_no_changes_that_wait(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    decision = reconcile(paused(observe, observed, replicas=-1))
    status, reason, message = condition_of(decision, "Ready")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "replicas" in message
    assert condition_of(decision, "Paused")[0] == "True"
