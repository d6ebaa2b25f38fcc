"""The next step of a rollout, and the rollback of a failed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.status import Rollout
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.rollout import RolloutStep, is_rolling
from fleet_operator.decide.rollout_strategy import HAND_OVER, SURGE, Cluster
from fleet_operator.decide.turn import Turn
from fleet_operator.resources.children import RolloutStrategy, deployment
from support.operator_objects import NOW, model, pod
from support.rollout_steps import CRASHED, FULL, OLD, QUOTA, ROOMY, at, refused, template

Observe = Callable[..., Observed]


def test_the_first_version(step: Callable[..., RolloutStep]) -> None:
    found = step(applied=None, rollout=None)
    assert (found.strategy, found.version) == (SURGE, "new")
    assert found.choice is not None
    assert found.choice.reason == "FirstVersion"
    assert found.rollout == Rollout()


@pytest.mark.parametrize(
    ("cluster", "strategy", "reason"),
    [(ROOMY, SURGE, "FreeCapacity"), (FULL, HAND_OVER, "NoFreeCapacity")],
)
def test_the_strategy_is_chosen_once_for_each_version(
    step: Callable[..., RolloutStep], cluster: Cluster, strategy: RolloutStrategy, reason: str
) -> None:
    found = step(("old", {"ready": True}), applied="old", cluster=cluster)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (strategy, reason)
    # The same while it goes on, whatever the nodes are like by then.
    for later in (ROOMY, FULL):
        going_on = step(("old", {"ready": True}), strategy=strategy, cluster=later)
        assert (going_on.strategy, going_on.choice) == (strategy, None)


def test_a_ready_new_version_is_the_stable_one(step: Callable[..., RolloutStep]) -> None:
    found = step(("new", {"ready": True}), rollout=Rollout(stable_hash="old", failed_hash="new"))
    assert found.rollout == Rollout(stable_hash="new")


@pytest.mark.parametrize(
    ("fields", "given_up"),
    [
        ({**CRASHED, "restarts": 1, "created": "2026-01-01T11:59:59Z"}, False),
        ({**CRASHED, "restarts": 2, "created": "2026-01-01T11:59:59Z"}, True),
        ({**CRASHED, "created": "2026-01-01T11:58:59Z"}, True),
        ({"waiting": ("ErrImagePull", "x"), "created": "2026-01-01T11:59:01Z"}, False),
        ({"waiting": ("ErrImagePull", "x"), "created": "2026-01-01T11:59:00Z"}, True),
        ({"waiting": ("ErrImagePull", "x"), "created": "2026-01-01T11:58:59Z"}, True),
        ({"created": "2026-01-01T10:00:00Z"}, False),  # only slow
    ],
)
def test_restarts_or_time_mark_a_version_as_failed(
    step: Callable[..., RolloutStep], fields: dict[str, Any], given_up: bool
) -> None:
    found = step(("new", fields))
    assert found.rollout is not None
    assert (found.rollout.failed_hash == "new") is given_up
    assert (found.wants_stable_template == "old") is given_up


def test_an_exceeded_progress_deadline_marks_a_version_as_failed(
    step: Callable[..., RolloutStep],
) -> None:
    late = [{"type": "Progressing", "status": "False", "message": "has timed out"}]
    found = step(("new", {}), conditions=late)
    assert found.rollout is not None
    assert (found.rollout.failed_hash, found.rollout.failed_message) == ("new", "has timed out")


FAILED = Rollout(stable_hash="old", failed_hash="new", failed_message="OutOfMemory: x")


def test_a_failed_version_is_rolled_back(step: Callable[..., RolloutStep]) -> None:
    found = step(("new", CRASHED), rollout=FAILED, stable="old")
    assert (found.version, found.strategy) == ("old", HAND_OVER)
    assert found.problem is not None
    assert found.problem.reason == "RolledBack"
    assert "OutOfMemory: x" in found.problem.message
    assert found.rollout == FAILED


def test_a_rollback_is_not_repeated(step: Callable[..., RolloutStep]) -> None:
    found = step(("old", {"ready": True}), applied="old", rollout=FAILED, stable="old")
    assert (found.version, found.choice) == ("old", None)


def test_where_the_old_template_is_gone_the_new_one_stays(step: Callable[..., RolloutStep]) -> None:
    found = step(("new", CRASHED), rollout=FAILED)
    assert (found.version, found.problem) == ("new", None)


def test_a_new_change_is_rolled_out_after_a_failed_one(step: Callable[..., RolloutStep]) -> None:
    other = Rollout(stable_hash="old", failed_hash="other", failed_message="x")
    found = step(("old", {"ready": True}), applied="old", rollout=other)
    assert found.rollout == Rollout(stable_hash="old")
    assert found.version == "new"


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": SURGE},  # the old servers are still there
        {"rollout": Rollout()},  # there never was an older version
        {"rollout": Rollout(stable_hash="new")},  # it did serve once: a crash is no bad version
    ],
)
def test_versions_that_are_not_rolled_back(
    step: Callable[..., RolloutStep], fields: dict[str, Any]
) -> None:
    found = step(("new", {**CRASHED, "restarts": 9}), **fields)
    assert found.rollout is not None
    assert found.rollout.failed_hash is None


def test_a_requested_hand_over(step: Callable[..., RolloutStep]) -> None:
    found = step(OLD, applied="old", mode="HandOver", cluster=ROOMY)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "Requested")
    # Requested while a surge is under way.
    found = step(OLD, ("new", {}), strategy=SURGE, mode="HandOver", cluster=ROOMY)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "Requested")
    first = step(applied=None, mode="HandOver", rollout=None)
    assert (first.strategy, first.choice and first.choice.reason) == (HAND_OVER, "FirstVersion")


UNPLACED = Rollout(stable_hash="old", unplaced_since="2026-01-01T11:59:00Z")


def test_a_successor_without_a_node_is_rolled_back(step: Callable[..., RolloutStep]) -> None:
    """A hand-over that was a mistake: nothing serves, and the old version would have a node."""
    alone = ("new", at("50:00"))
    first = step(alone, cluster=ROOMY)
    assert first.rollout is not None
    assert first.rollout.unplaced_since == "2026-01-01T12:00:00Z"
    assert first.requeue_after == 60.0
    soon = UNPLACED.model_copy(update={"unplaced_since": "2026-01-01T11:59:01Z"})
    patient = step(alone, rollout=soon, cluster=ROOMY, stable="old")
    assert (patient.version, patient.requeue_after) == ("new", 1.0)
    asks = step(alone, rollout=UNPLACED, cluster=ROOMY)
    assert (asks.version, asks.wants_stable_template) == ("new", "old")
    for cluster in (ROOMY, None):
        found = step(alone, rollout=UNPLACED, cluster=cluster, stable="old")
        assert found.rollout is not None
        assert (found.version, found.rollout.failed_hash) == ("old", "new")
        assert found.rollout.unplaced_since is None
        assert "volume node affinity conflict" in (found.rollout.failed_message or "")


def test_a_successor_is_not_rolled_back_where_the_old_version_fits_no_better(
    step: Callable[..., RolloutStep],
) -> None:
    found = step(("new", at("50:00")), rollout=UNPLACED, cluster=FULL, stable="old")
    assert found.rollout is not None
    assert (found.version, found.rollout.failed_hash) == ("new", None)
    assert found.requeue_after == 60.0


@pytest.mark.parametrize(
    "pods",
    [
        [("new", at("50:00")), ("old", {"ready": True, "deleting": True})],  # still leaving
        [("new", at("50:00")), ("new", {"ready": True})],
        [("new", {})],
    ],
)
def test_a_successor_is_unplaced_only_while_it_is_alone_without_a_node(
    step: Callable[..., RolloutStep], pods: list[Any]
) -> None:
    found = step(*pods, rollout=UNPLACED, cluster=ROOMY)
    assert found.rollout is not None
    assert found.rollout.unplaced_since is None


@pytest.mark.parametrize("applied", ["new", "old"])
def test_only_a_hand_over_under_way_has_an_unplaced_successor(
    step: Callable[..., RolloutStep], applied: str
) -> None:
    strategy = SURGE if applied == "new" else HAND_OVER
    found = step(("new", at("50:00")), applied=applied, strategy=strategy, rollout=UNPLACED)
    assert found.rollout is not None
    assert found.rollout.unplaced_since is None


def test_a_successor_that_a_quota_refuses_is_rolled_back(step: Callable[..., RolloutStep]) -> None:
    conditions = refused(QUOTA)
    found = step(rollout=UNPLACED, cluster=ROOMY, stable="old", conditions=conditions)
    assert found.rollout is not None
    assert found.rollout.failed_hash == "new"


AHEAD = Turn(accelerated=("ns/a",), others=("ns/b", "ns/c"))


def test_a_new_version_waits_for_its_turn(step: Callable[..., RolloutStep]) -> None:
    found = step(OLD, applied="old", cluster=ROOMY, turn=AHEAD)
    assert (found.version, found.strategy, found.choice) == ("old", HAND_OVER, None)
    assert (found.waits_for, found.begins) == (("ns/b", "ns/c"), False)
    assert found.requeue_after == 300.0
    for claim in ({"resourceClaims": [{"name": "gpu"}]}, GPU_POD):
        found = step(OLD, applied="old", cluster=ROOMY, turn=AHEAD, template_spec=claim)
        assert found.waits_for == ("ns/a",)
    begun = step(OLD, applied="old", cluster=ROOMY, turn=Turn(accelerated=("ns/a",)))
    assert (begun.version, begun.waits_for, begun.begins) == ("new", (), True)


GPU_POD = {"containers": [{"name": "server", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}


@pytest.mark.parametrize("pods", [[], [("old", {})], [("old", {"ready": True, "deleting": True})]])
def test_a_model_that_does_not_serve_does_not_wait(
    step: Callable[..., RolloutStep], pods: list[Any]
) -> None:
    found = step(*pods, applied="old", cluster=ROOMY, turn=AHEAD)
    assert (found.version, found.waits_for, found.begins) == ("new", (), False)


def test_neither_a_rollout_under_way_nor_a_rollback_waits(step: Callable[..., RolloutStep]) -> None:
    found = step(OLD, ("new", {}), turn=AHEAD)
    assert (found.version, found.waits_for) == ("new", ())
    found = step(("new", CRASHED), rollout=FAILED, stable="old", turn=AHEAD)
    assert (found.version, found.waits_for) == ("old", ())


@pytest.mark.parametrize(
    ("applied", "pods", "replicas", "stable", "rolling"),
    [
        ("new", [("new", {"ready": True})], 1, "new", False),
        ("new", [("new", {}), OLD], 1, "old", True),
        ("new", [("new", {"ready": True}), OLD], 1, "new", True),
        ("new", [("new", {})], 1, "old", True),  # handed over, not ready yet
        ("new", [("new", {})], 1, None, False),  # its first version
        ("new", [], 0, "old", False),  # asleep
        ("new", [("new", {"ready": True}), ("old", {"deleting": True})], 1, "new", False),
        (None, [], 1, "old", False),
    ],
)
def test_what_counts_as_a_rollout(
    observe: Observe,
    applied: str | None,
    pods: list[tuple[str, dict[str, Any]]],
    replicas: int,
    stable: str | None,
    rolling: bool,
) -> None:
    raw = {**model(), "status": {"rollout": {"stableHash": stable} if stable else {}}}
    raws = [pod(f"p{i}", template=which, **fields) for i, (which, fields) in enumerate(pods)]
    children = {}
    if applied is not None:
        made = deployment(raw, template(applied), replicas, SURGE, observe(raw).settings)
        children[Ref("Deployment", "m")] = made
    assert is_rolling(observe(raw, raws, children=children)) is rolling


def test_a_pod_that_a_quota_refuses_is_tried_again_once_no_server_is_left(
    step: Callable[..., RolloutStep],
) -> None:
    conditions = refused(QUOTA)
    found = step(cluster=ROOMY, conditions=conditions, now=NOW + 7)
    assert (found.retry, found.requeue_after) == ("2026-01-01T12:00:05Z", 5.0)
    leaving = ("old", {"ready": True, "deleting": True})
    assert step(leaving, cluster=ROOMY, conditions=conditions).retry is None
    assert step(("new", at("59:50")), cluster=ROOMY).retry is None
