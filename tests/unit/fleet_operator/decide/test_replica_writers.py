"""Writers of replicas that the operator decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_operator.decide.observed import Observed, ReplicaWrite
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.replica_writers import OVERWRITTEN, WINDOW_SECONDS, writer
from support.operator_objects import NOW, model

Observe = Callable[..., Observed]
AIM = {"targetInFlight": 2, "maxReplicas": 3}


def entry(manager: str, operation: str = "Update", at: str = "", **fields: Any) -> dict[str, Any]:
    spec = fields or {"f:replicas": {}}
    return {"manager": manager, "operation": operation, "time": at, "fieldsV1": {"f:spec": spec}}


def test_the_last_writer_of_replicas_is_found() -> None:
    def of(*entries: dict[str, Any]) -> str:
        return writer({"metadata": {"managedFields": list(entries)}})

    own = entry("modelfleet-operator", "Apply")
    assert writer({"metadata": {}}) == ""
    assert of(own) == ""
    assert of(own, entry("kube-controller-manager", **{"f:template": {}})) == ""
    assert of(own, {"manager": "x", "operation": "Update"}) == ""
    older, newer = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
    assert of(entry("keda", at=newer), own, entry("kubectl", at=older)) == "keda"


def writes(kind: str, *seconds_ago: float) -> tuple[ReplicaWrite, ...]:
    return tuple(ReplicaWrite(kind, "hpa", NOW - ago) for ago in seconds_ago)


@pytest.mark.parametrize(
    ("spec", "made", "reason"),
    [
        ({}, (), None),
        ({}, writes("Deployment", 20, 10), None),
        ({}, writes("Deployment", 30, 20, 10), "DeploymentScaled"),
        (AIM, writes("Deployment", 30, 20, 10), "DeploymentScaled"),
        ({}, writes("Deployment", WINDOW_SECONDS, 20, 10), None),
        ({}, writes("InferenceModel", 30, 20, 10), None),  # the writer's right
        ({"scaleToZeroAfter": 9}, writes("InferenceModel", 30, 20, 10), None),
        (AIM, writes("InferenceModel", 30, 20, 10), "AutoscalingOn"),
        (AIM, writes("InferenceModel", 30, 20), None),
    ],
)
def test_who_keeps_writing_is_named_in_a_condition(
    observe: Observe, spec: dict[str, Any], made: tuple[ReplicaWrite, ...], reason: str | None
) -> None:
    decision = reconcile(observe(model(**spec), replica_writes=made))
    found = [one for one in decision.status["conditions"] if one["type"] == OVERWRITTEN]
    assert [one["reason"] for one in found] == ([reason] if reason else [])
    if reason:
        assert "'hpa' keeps writing" in found[0]["message"]
        assert found[0]["status"] == "True"


def test_the_condition_ends_with_the_writes(observe: Observe) -> None:
    observed = observe(model(), replica_writes=writes("Deployment", 100, 20, 10))
    assert reconcile(observed).requeue_after == WINDOW_SECONDS - 100


@pytest.mark.parametrize(("kind", "spec"), [("Deployment", {}), ("InferenceModel", AIM)])
def test_the_last_of_several_writers_is_named(
    observe: Observe, kind: str, spec: dict[str, Any]
) -> None:
    managers = ("kubectl", "kubectl", "helm", "keda")
    made = tuple(ReplicaWrite(kind, name, NOW - 9 + n) for n, name in enumerate(managers))
    decision = reconcile(observe(model(**spec), replica_writes=made))
    (found,) = (one for one in decision.status["conditions"] if one["type"] == OVERWRITTEN)
    assert found["message"].startswith("'keda' keeps writing")
