"""Whether a surge is blocked: its pods have no node, or are not even created. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_operator.decide.diagnosis import Diagnosis
from fleet_operator.decide.server_set import QUOTA, ServerSet
from fleet_operator.timestamps import parse

WAITING = frozenset({"Unschedulable", "VolumeInUse"})
"""Reasons of pods that may start once an old one has left: its node, its devices or its volume."""
VOLUMES = ("volume", "PersistentVolumeClaim")
BEYOND_CAPACITY = ("affinity rules", *VOLUMES, "allocate all claims")
"""Parts of the scheduler's messages about what `capacity` does not consider: affinity of pods,
volumes and their zones, devices. Source: pkg/scheduler/framework/plugins of Kubernetes."""
LACKING = ("Insufficient ", "Too many pods")
"""Parts of them about what other pods take."""


@dataclass(frozen=True, slots=True)
class Blockage:
    """Why new servers cannot be placed, and since when (Unix time).

    `by_nodes`: no node takes them, which free nodes may change; quotas, volumes and the affinity of
    pods are independent of free nodes. `by_resources`: other pods take what they request, on some
    of the nodes at least, and no volume excludes others. `has_pod` is False where a quota refuses
    to create them.
    """

    since: float
    message: str
    by_nodes: bool = False
    by_resources: bool = False
    has_pod: bool = True


def blockage(servers: ServerSet, now: float) -> Blockage | None:
    """What keeps the current version's pods from being placed; None if nothing does."""
    waiting = [
        Blockage(pod.created, one.message, _is_by_nodes(one), _is_by_resources(one))
        for pod, one in servers.current
        if one.reason in WAITING
    ]
    if waiting:
        return min(waiting, key=lambda one: one.since)
    refused = servers.deployment_problem()
    if refused is None or refused.reason != QUOTA:
        return None
    since = [
        parse(condition.get("lastTransitionTime"))
        for condition in ((servers.deployment or {}).get("status") or {}).get("conditions") or ()
        if condition["type"] == "ReplicaFailure"
    ]
    began = next((at for at in since if at is not None), now)
    return Blockage(began, refused.message, has_pod=False)


def _is_by_nodes(one: Diagnosis) -> bool:
    beyond = any(part in one.message for part in BEYOND_CAPACITY)
    return one.reason == "Unschedulable" and not beyond


def _is_by_resources(one: Diagnosis) -> bool:
    message, _, _ = one.message.partition("preemption:")
    lacking = any(part in message for part in LACKING)
    # Which nodes a volume allows is unknown: room on another one would not help.
    bound = any(part in message for part in VOLUMES)
    return one.reason == "Unschedulable" and lacking and not bound
