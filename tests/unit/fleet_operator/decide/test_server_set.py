"""The servers of a model, and what the Deployment reports of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_operator.decide.diagnosis import Stage
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.server_set import ServerSet, has_generations, read_status
from support.operator_objects import model, pod

Observe = Callable[..., Observed]
NEW = {"template": "new"}
READY = {"template": "new", "ready": True}
OLD = {"template": "old", "ready": True}


def servers(
    observe: Observe, *pods: dict[str, Any], wanted: int = 1, conditions: Any = None
) -> ServerSet:
    raws = [pod(f"p{i}", **fields) for i, fields in enumerate(pods)]
    children = {}
    if conditions is not None:
        children[Ref("Deployment", "m")] = {"status": {"conditions": conditions}}
    return ServerSet.read(observe(model(), raws, children=children), "new", wanted)


@pytest.mark.parametrize(
    ("pods", "wanted", "ready", "current_ready", "complete"),
    [
        ([], 0, 0, 0, True),
        ([], 1, 0, 0, False),
        ([READY], 1, 1, 1, True),
        ([READY], 2, 1, 1, False),
        ([READY, READY], 1, 2, 2, False),
        ([READY, NEW], 2, 1, 1, False),
        ([NEW], 1, 0, 0, False),
        ([READY, OLD], 1, 2, 1, False),
        ([OLD], 1, 1, 0, False),
        ([READY, {**READY, "deleting": True}], 1, 1, 1, True),
        ([READY, {**OLD, "phase": "Failed"}], 1, 1, 1, True),
    ],
)
def test_counts(
    observe: Observe,
    pods: list[dict[str, Any]],
    wanted: int,
    ready: int,
    current_ready: int,
    complete: bool,
) -> None:
    found = servers(observe, *pods, wanted=wanted)
    assert (found.ready, found.current_ready, found.is_complete) == (ready, current_ready, complete)


FAILED = {**NEW, "waiting": ("ErrImagePull", "x")}
WAITING = {**NEW, "unschedulable": "0/1 nodes"}


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ([READY], None),
        ([NEW], None),
        ([WAITING], "Unschedulable"),
        ([WAITING, FAILED], "ImagePullFailed"),
        ([{**OLD, "ready": False, "waiting": ("ErrImagePull", "x")}], None),
    ],
)
def test_pod_problems(observe: Observe, pods: list[dict[str, Any]], reason: str | None) -> None:
    problem = servers(observe, *pods).pod_problem
    assert (problem.reason if problem is not None else None) == reason


def test_the_slowest_is_at_the_earliest_stage(observe: Observe) -> None:
    slowest = servers(observe, READY, WAITING, NEW).slowest
    assert slowest is not None
    assert slowest.stage is Stage.SCHEDULING
    assert servers(observe, OLD).slowest is None


def condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "message": "why"}


@pytest.mark.parametrize(
    ("conditions", "pods", "reason"),
    [
        (None, [NEW], None),
        ([], [NEW], None),
        ([condition("Available", "False")], [NEW], None),
        ([condition("ReplicaFailure", "True")], [NEW], "PodsNotCreated"),
        ([condition("ReplicaFailure", "False")], [NEW], None),
        ([condition("Progressing", "False")], [NEW], "DeadlineExceeded"),
        ([condition("Progressing", "True")], [NEW], None),
        ([condition("Progressing", "False")], [READY], None),
        ([condition("Available", "True"), condition("ReplicaFailure", "True")], [READY],
         "PodsNotCreated"),
    ],
)  # fmt: skip
def test_conditions_of_the_deployment(
    observe: Observe, conditions: Any, pods: list[dict[str, Any]], reason: str | None
) -> None:
    problem = servers(observe, *pods, conditions=conditions).deployment_problem()
    assert (problem.reason if problem is not None else None) == reason
    if problem is not None:
        assert (problem.stage, problem.message, problem.failed) == (
            Stage.SCHEDULING,
            "why",
            True,
        )


@pytest.mark.parametrize(
    ("message", "reason", "failed"),
    [
        ('violates PodSecurity "restricted:latest"', "PodsNotCreated", True),
        ("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2", "QuotaExceeded",
         False),
        ("exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", "PodsNotCreated",
         True),
        ('Internal error occurred: failed calling webhook "x": context deadline exceeded',
         "PodsNotCreated", False),
        ("Timeout: request did not complete within requested timeout", "PodsNotCreated", False),
        ('admission webhook "x" denied the request', "PodsNotCreated", True),
    ],
)  # fmt: skip
def test_refused_pods(observe: Observe, message: str, reason: str, failed: bool) -> None:
    """A quota that is used up and a webhook that does not respond are no failures of the model."""
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": message}]
    found = servers(observe, conditions=conditions).deployment_problem()
    assert found is not None
    assert (found.reason, found.failed, found.message) == (reason, failed, message)


def deployment(version: str = "new", generation: int = 2, **status: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"modelfleet.dev/template": version}}}
    return {"metadata": {"generation": generation}, "spec": {"template": template},
            "status": {"observedGeneration": 2, **status}}  # fmt: skip


def of(replica_set: str, **fields: Any) -> dict[str, Any]:
    return {**READY, "labels": {"pod-template-hash": replica_set}, **fields}


@pytest.mark.parametrize(
    ("applied", "newest", "current", "old"),
    [("new", "", 2, 0), ("new", "b", 1, 1), ("new", "c", 0, 2), ("other", "b", 2, 0)],
)
def test_pods_of_another_replica_set_are_old(
    observe: Observe, applied: str, newest: str, current: int, old: int
) -> None:
    raws = [pod("p1", **of("a")), pod("p2", **of("b"))]
    children = {Ref("Deployment", "m"): deployment(applied)}
    observed = observe(model(), raws, children=children, replica_set=newest)
    found = ServerSet.read(observed, "new", 1)
    assert (len(found.current), len(found.old)) == (current, old)


@pytest.mark.parametrize(
    ("pods", "made", "several"),
    [
        ([of("a")], deployment(replicas=1, updatedReplicas=1), False),
        ([of("a"), of("b")], deployment(replicas=2, updatedReplicas=1), True),
        ([of("a"), of("b", deleting=True)], deployment(replicas=1, updatedReplicas=1), False),
        ([of("a")], deployment(replicas=1), True),  # none of the new one, as with a full quota
        ([of("a")], deployment(generation=3, replicas=1), False),  # not seen yet
        ([of("a", template="old")], deployment(replicas=1), False),
        ([of("a")], None, False),
    ],
)
def test_has_generations(
    observe: Observe, pods: list[dict[str, Any]], made: dict[str, Any] | None, several: bool
) -> None:
    raws = [pod(f"p{i}", **fields) for i, fields in enumerate(pods)]
    children = {Ref("Deployment", "m"): made} if made is not None else {}
    assert has_generations(observe(model(), raws, children=children)) is several


FAILED = {"type": "Progressing", "status": "False", "message": "deadline"}
AVAILABLE = {"type": "Available", "status": "True", "message": "1 replica"}


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (deployment(), deployment(replicas=1, updatedReplicas=1), True),
        (deployment(), deployment(conditions=[AVAILABLE], readyReplicas=1), True),
        (deployment(), deployment(conditions=[AVAILABLE, FAILED]), False),
        (deployment(conditions=[FAILED]), deployment(conditions=[{**FAILED, "message": "x"}]),
         False),
        (deployment(replicas=1, updatedReplicas=1), deployment(replicas=1), False),
        (deployment(generation=3, replicas=1), deployment(replicas=1), False),
    ],
)  # fmt: skip
def test_only_problems_and_empty_generations_are_read_of_a_status(
    before: dict[str, Any], after: dict[str, Any], same: bool
) -> None:
    assert (read_status(before) == read_status(after)) is same
