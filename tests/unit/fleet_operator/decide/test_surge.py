"""Surges that give way to a hand-over: blocked by the scheduler, a quota or a volume."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_operator.decide.rollout import RolloutStep
from fleet_operator.decide.rollout_strategy import HAND_OVER, SURGE
from support.rollout_steps import CRASHED, FULL, OLD, QUOTA, ROOMY, at, refused

WAITING = {"unschedulable": "0/1 nodes", "created": "2026-01-01T11:59:30Z"}


def test_an_unschedulable_surge_becomes_a_hand_over(step: Callable[..., RolloutStep]) -> None:
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


def test_a_hand_over_is_not_rolled_back_while_a_server_is_ready(
    step: Callable[..., RolloutStep],
) -> None:
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


def test_the_surge_timeout_counts_from_the_oldest_waiting_pod(
    step: Callable[..., RolloutStep],
) -> None:
    newest = {**WAITING, "created": "2026-01-01T11:59:59Z"}
    pods = (("old", {"ready": True}), ("new", newest), ("new", WAITING))
    for order in (pods, (pods[0], pods[2], pods[1])):
        assert step(*order, strategy=SURGE).strategy == HAND_OVER


def test_the_surge_timeout_is_twenty_seconds(step: Callable[..., RolloutStep]) -> None:
    for created, strategy in (("2026-01-01T11:59:41Z", SURGE), ("2026-01-01T11:59:40Z", HAND_OVER)):
        pods = (("old", {"ready": True}), ("new", {**WAITING, "created": created}))
        found = step(*pods, strategy=SURGE)
        assert found.strategy == strategy
        assert found.requeue_after == (1.0 if strategy == SURGE else 20.0)


def test_a_surge_without_old_or_waiting_servers_continues(step: Callable[..., RolloutStep]) -> None:
    for pods in ((("new", WAITING),), (("old", {"ready": True}), ("new", {}))):
        found = step(*pods, strategy=SURGE)
        assert (found.strategy, found.choice, found.requeue_after) == (SURGE, None, None)


def test_an_unschedulable_hand_over_stays_a_hand_over(step: Callable[..., RolloutStep]) -> None:
    found = step(("old", {"ready": True}), ("new", WAITING), cluster=ROOMY)
    assert (found.strategy, found.choice) == (HAND_OVER, None)


def test_a_new_version_is_requeued_after_twenty_seconds(step: Callable[..., RolloutStep]) -> None:
    found = step(("old", {"ready": True}), applied="old", cluster=ROOMY)
    assert found.requeue_after == 20.0
    # Servers that are leaving do not count as running.
    gone = step(("old", {"ready": True, "deleting": True}), applied="old", cluster=FULL)
    assert gone.choice is not None
    assert gone.choice.reason == "FirstVersion"


def test_the_message_of_a_failure_is_kept_with_its_reason(step: Callable[..., RolloutStep]) -> None:
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


def test_a_surge_that_the_scheduler_keeps_refusing_gives_way(
    step: Callable[..., RolloutStep],
) -> None:
    """Although a node seems to have room."""
    message = "0/2 nodes are available: 2 Insufficient memory."
    late, soon = (at(clock, unschedulable=message) for clock in ("59:00", "59:01"))
    found = step(OLD, ("new", soon), strategy=SURGE, cluster=ROOMY)
    assert (found.strategy, found.choice, found.requeue_after) == (SURGE, None, 20.0)
    found = step(OLD, ("new", late), strategy=SURGE, cluster=ROOMY)
    assert found.strategy == HAND_OVER
    assert found.choice is not None
    assert found.choice.reason == "SurgeBlocked"
    assert message in found.choice.message


@pytest.mark.parametrize(
    "reason",
    [
        "node(s) didn't match pod anti-affinity rules",
        "node(s) didn't satisfy existing pods anti-affinity rules",
        "node(s) had volume node affinity conflict",
        "node(s) had no available volume zone",
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access"
        " mode",
        "cannot allocate all claims",
    ],
)
def test_a_surge_gives_way_soon_where_nodes_cannot_explain_it(
    step: Callable[..., RolloutStep], reason: str
) -> None:
    message = f"0/2 nodes are available: 2 {reason}."
    late, soon = (at(clock, unschedulable=message) for clock in ("59:40", "59:41"))
    assert step(OLD, ("new", soon), strategy=SURGE, cluster=ROOMY).strategy == SURGE
    found = step(OLD, ("new", late), strategy=SURGE, cluster=ROOMY)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "SurgeBlocked")
    assert reason in found.choice.message


def test_a_surge_gives_way_where_nodes_are_unknown(step: Callable[..., RolloutStep]) -> None:
    found = step(OLD, ("new", at("59:40")), strategy=SURGE, cluster=None)
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "SurgeBlocked")


def test_a_surge_of_a_version_that_fits_nowhere_never_gives_way(
    step: Callable[..., RolloutStep],
) -> None:
    greedy = {"containers": [{"name": "server", "resources": {"requests": {"cpu": "3"}}}]}
    waiting = ("new", at("00:00"))
    found = step(OLD, waiting, strategy=SURGE, cluster=FULL, template_spec=greedy)
    assert (found.strategy, found.choice) == (SURGE, None)


def test_a_volume_on_another_node_blocks_a_surge(step: Callable[..., RolloutStep]) -> None:
    hint = 'FailedAttachVolume: Multi-Attach error for volume "pvc-1": already used by pod p0'
    stuck = ("new", {"waiting": ("ContainerCreating", ""), "running": False,
                     "created": "2026-01-01T11:59:40Z"})  # fmt: skip
    found = step(OLD, stuck, strategy=SURGE, cluster=ROOMY, hints={"uid-p1": hint})
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "SurgeBlocked")
    assert "Multi-Attach error" in found.choice.message
    other = step(OLD, stuck, strategy=SURGE, cluster=ROOMY, hints={"uid-p1": "FailedMount: slow"})
    assert other.strategy == SURGE


def test_a_quota_that_is_used_up_blocks_a_surge(step: Callable[..., RolloutStep]) -> None:
    """There is no pod to look at."""
    found = step(OLD, strategy=SURGE, cluster=ROOMY, conditions=refused(QUOTA))
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "SurgeBlocked")
    assert "exceeded quota: q" in found.choice.message
    soon = refused(QUOTA, "2026-01-01T11:59:50Z")
    found = step(OLD, strategy=SURGE, cluster=ROOMY, conditions=soon)
    assert (found.strategy, found.requeue_after) == (SURGE, 10.0)


@pytest.mark.parametrize(
    "message",
    [
        'violates PodSecurity "restricted"',
        QUOTA.replace("limited: requests.cpu=3", "limited: requests.cpu=1"),  # never fits
        "Internal error occurred: failed calling webhook",
    ],
)
def test_other_refusals_do_not_stop_the_old_servers(
    step: Callable[..., RolloutStep], message: str
) -> None:
    found = step(OLD, strategy=SURGE, cluster=ROOMY, conditions=refused(message))
    assert (found.strategy, found.choice) == (SURGE, None)


RESTARTED = {"pod-template-hash": "2"}
BEFORE_RESTART = ("new", {"ready": True, "labels": {"pod-template-hash": "1"}})


def test_a_restart_by_kubectl_gives_way_as_well(step: Callable[..., RolloutStep]) -> None:
    """`kubectl rollout restart` on a full cluster: both pods have the same version."""
    waiting = ("new", at("59:30", labels=RESTARTED))
    found = step(BEFORE_RESTART, waiting, strategy=SURGE, replica_set="2")
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (HAND_OVER, "NoFreeCapacity")


def test_a_restart_refused_by_a_quota_gives_way(step: Callable[..., RolloutStep]) -> None:
    conditions = refused(QUOTA)
    found = step(BEFORE_RESTART, strategy=SURGE, replica_set="2", conditions=conditions)
    assert found.strategy == HAND_OVER


def test_a_requested_surge_never_gives_way(step: Callable[..., RolloutStep]) -> None:
    found = step(OLD, applied="old", mode="Surge")
    assert found.choice is not None
    assert (found.strategy, found.choice.reason) == (SURGE, "Requested")
    found = step(OLD, ("new", at("00:00")), strategy=SURGE, mode="Surge")
    assert (found.strategy, found.choice) == (SURGE, None)
