"""The servers of a model, and what the Deployment reports of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_operator.decide.diagnosis import Stage
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.server_set import ServerSet
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
def test_trouble(observe: Observe, pods: list[dict[str, Any]], reason: str | None) -> None:
    trouble = servers(observe, *pods).trouble
    assert (trouble.reason if trouble is not None else None) == reason


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
    trouble = servers(observe, *pods, conditions=conditions).deployment_trouble()
    assert (trouble.reason if trouble is not None else None) == reason
    if trouble is not None:
        assert (trouble.stage, trouble.message, trouble.failed) == (Stage.SCHEDULING, "why", True)
