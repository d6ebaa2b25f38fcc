"""The next step of a rollout, and the rollback of a failed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.status import Rollout
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.rollout import Step, next_step
from fleet_operator.decide.rollout_strategy import HAND_OVER, SURGE, Cluster
from fleet_operator.resources.children import RolloutStrategy, deployment
from support.operator_objects import model, node, pod

Observe = Callable[..., Observed]
CRASHED = {"ended": {"exitCode": 137, "reason": "OOMKilled"}}
FULL = Cluster([node("node-a", cpu="2")], {"node-a": {"cpu": 2000, "pods": 1000}})
ROOMY = Cluster([node("node-a", cpu="9")], {"node-a": {"cpu": 2000, "pods": 1000}})
BEFORE = Rollout(stable_hash="old")


def template(version: str = "new") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"modelfleet.dev/template": version}},
        "spec": {
            "containers": [{"name": "server", "resources": {"requests": {"cpu": "2"}}}],
        },
    }


@pytest.fixture
def step(observe: Observe) -> Callable[..., Step]:
    """One step: the Deployment has `applied` by `strategy`; pods are (template, fields)."""

    def take(
        *pods: tuple[str, dict[str, Any]],
        applied: str | None = "new",
        strategy: RolloutStrategy = HAND_OVER,
        rollout: Rollout | None = BEFORE,
        cluster: Cluster = FULL,
        stable: str | None = None,
        conditions: Any = (),
        now: float | None = None,
    ) -> Step:
        raw = model()
        raws = [pod(f"p{i}", template=which, requests={"cpu": "2"}, **fields)
                for i, (which, fields) in enumerate(pods)]  # fmt: skip
        bare = observe(raw)
        children = {}
        if applied is not None:
            made = deployment(raw, template(applied), 1, strategy, bare.settings)
            children[Ref("Deployment", "m")] = {**made, "status": {"conditions": conditions}}
        observed = observe(
            raw, raws, children=children, cluster=cluster,
            stable_template=template(stable) if stable else None,
            **({"now": now} if now is not None else {}),
        )  # fmt: skip
        return next_step(observed, template(), rollout)

    return take


def test_the_first_version(step: Callable[..., Step]) -> None:
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
    step: Callable[..., Step], cluster: Cluster, strategy: RolloutStrategy, reason: str
) -> None:
    found = step(("old", {"ready": True}), applied="old", cluster=cluster)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (strategy, reason)
    # The same while it goes on, whatever the nodes are like by then.
    for later in (ROOMY, FULL):
        going_on = step(("old", {"ready": True}), strategy=strategy, cluster=later)
        assert (going_on.strategy, going_on.choice) == (strategy, None)


def test_a_ready_new_version_is_the_stable_one(step: Callable[..., Step]) -> None:
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
    step: Callable[..., Step], fields: dict[str, Any], given_up: bool
) -> None:
    found = step(("new", fields))
    assert found.rollout is not None
    assert (found.rollout.failed_hash == "new") is given_up
    assert (found.wants_stable_template == "old") is given_up


def test_an_exceeded_progress_deadline_marks_a_version_as_failed(step: Callable[..., Step]) -> None:
    late = [{"type": "Progressing", "status": "False", "message": "has timed out"}]
    found = step(("new", {}), conditions=late)
    assert found.rollout is not None
    assert (found.rollout.failed_hash, found.rollout.failed_message) == ("new", "has timed out")


FAILED = Rollout(stable_hash="old", failed_hash="new", failed_message="OutOfMemory: x")


def test_a_failed_version_is_rolled_back(step: Callable[..., Step]) -> None:
    found = step(("new", CRASHED), rollout=FAILED, stable="old")
    assert (found.version, found.strategy) == ("old", HAND_OVER)
    assert found.problem is not None
    assert found.problem.reason == "RolledBack"
    assert "OutOfMemory: x" in found.problem.message
    assert found.rollout == FAILED


def test_a_rollback_is_not_repeated(step: Callable[..., Step]) -> None:
    found = step(("old", {"ready": True}), applied="old", rollout=FAILED, stable="old")
    assert (found.version, found.choice) == ("old", None)


def test_where_the_old_template_is_gone_the_new_one_stays(step: Callable[..., Step]) -> None:
    found = step(("new", CRASHED), rollout=FAILED)
    assert (found.version, found.problem) == ("new", None)


def test_a_new_change_is_rolled_out_after_a_failed_one(step: Callable[..., Step]) -> None:
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
    step: Callable[..., Step], fields: dict[str, Any]
) -> None:
    found = step(("new", {**CRASHED, "restarts": 9}), **fields)
    assert found.rollout is not None
    assert found.rollout.failed_hash is None


WAITING = {"unschedulable": "0/1 nodes", "created": "2026-01-01T11:59:30Z"}


def test_an_unschedulable_surge_becomes_a_hand_over(step: Callable[..., Step]) -> None:
    pods = (("old", {"ready": True}), ("new", WAITING))
    found = step(*pods, strategy=SURGE)
    assert found.strategy == HAND_OVER
    assert found.choice is not None
    assert found.choice.reason == "NoFreeCapacity"
    still = step(*pods, strategy=SURGE, cluster=ROOMY)
    assert (still.strategy, still.choice) == (SURGE, None)
    soon = ("new", {**WAITING, "created": "2026-01-01T11:59:55Z"})
    patient = step(pods[0], soon, strategy=SURGE)
    assert (patient.strategy, patient.requeue_after) == (SURGE, 15.0)


def test_a_hand_over_is_not_rolled_back_while_a_server_is_ready(step: Callable[..., Step]) -> None:
    crashed = ("new", {**CRASHED, "restarts": 9})
    late = [{"type": "Progressing", "status": "False", "message": "has timed out"}]
    for ready in (("old", {"ready": True}), ("new", {"ready": True})):
        found = step(ready, crashed, conditions=late)
        assert found.rollout is not None
        assert (found.rollout.failed_hash, found.problem) == (None, None)
    # The old server that is still there but not ready keeps nothing back.
    found = step(("old", {}), crashed)
    assert found.rollout is not None
    assert found.rollout.failed_hash == "new"


def test_the_surge_timeout_counts_from_the_oldest_waiting_pod(step: Callable[..., Step]) -> None:
    newest = {**WAITING, "created": "2026-01-01T11:59:59Z"}
    pods = (("old", {"ready": True}), ("new", newest), ("new", WAITING))
    for order in (pods, (pods[0], pods[2], pods[1])):
        assert step(*order, strategy=SURGE).strategy == HAND_OVER


def test_the_surge_timeout_is_twenty_seconds(step: Callable[..., Step]) -> None:
    for created, strategy in (("2026-01-01T11:59:41Z", SURGE), ("2026-01-01T11:59:40Z", HAND_OVER)):
        pods = (("old", {"ready": True}), ("new", {**WAITING, "created": created}))
        found = step(*pods, strategy=SURGE)
        assert found.strategy == strategy
        assert found.requeue_after == (1.0 if strategy == SURGE else 20.0)


def test_a_surge_without_old_or_waiting_servers_continues(step: Callable[..., Step]) -> None:
    for pods in ((("new", WAITING),), (("old", {"ready": True}), ("new", {}))):
        found = step(*pods, strategy=SURGE)
        assert (found.strategy, found.choice, found.requeue_after) == (SURGE, None, None)


def test_an_unschedulable_hand_over_stays_a_hand_over(step: Callable[..., Step]) -> None:
    found = step(("old", {"ready": True}), ("new", WAITING), cluster=ROOMY)
    assert (found.strategy, found.choice) == (HAND_OVER, None)


def test_a_new_version_is_requeued_after_twenty_seconds(step: Callable[..., Step]) -> None:
    found = step(("old", {"ready": True}), applied="old", cluster=ROOMY)
    assert found.requeue_after == 20.0
    # Servers that are leaving do not count as running.
    gone = step(("old", {"ready": True, "deleting": True}), applied="old", cluster=FULL)
    assert gone.choice is not None
    assert gone.choice.reason == "FirstVersion"


def test_the_message_of_a_failure_is_kept_with_its_reason(step: Callable[..., Step]) -> None:
    found = step(("new", {**CRASHED, "restarts": 2}))
    assert found.rollout is not None
    assert found.rollout.failed_message == (
        "OutOfMemory: The server exceeded its memory limit of 1Gi."
    )
    long = {"waiting": ("ErrImagePull", "x" * 2000), "created": "2026-01-01T11:00:00Z"}
    found = step(("new", long))
    assert found.rollout is not None
    assert len(found.rollout.failed_message or "") == 1000
    late = [{"type": "Progressing", "status": "False", "message": "y" * 2000}]
    found = step(("new", {}), conditions=late)
    assert found.rollout is not None
    assert len(found.rollout.failed_message or "") == 1000
