"""Chooses between surge and hand-over, by whether a new pod fits next to the old ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec_parts import RolloutMode
from fleet_operator.decide.capacity import Used, fitting
from fleet_operator.quantity import shown
from fleet_operator.resources.children import RolloutStrategy
from fleet_operator.resources.views import (
    NodeView,
    PodView,
    accelerators,
    device_claims,
    is_accelerated,
)
from fleet_operator.resources.volume_access import Pinned

SURGE = RolloutStrategy(surge=1, unavailable=0)
"""A new server must be ready before an old one is stopped."""
HAND_OVER = RolloutStrategy(surge=0, unavailable=1)
"""An old server is drained and stopped before its successor starts; routers hold requests."""
FIRST_VERSION = "FirstVersion"
"""The reason where there is nothing to replace; not reported."""
FITS_NOWHERE = "FitsNowhere"
CAPACITY_UNKNOWN = "CapacityUnknown"
PATIENCE_SECONDS = 20.0
"""Time a surge pod may wait for a node before the strategy is chosen again."""
REQUESTED = {RolloutMode.SURGE: SURGE, RolloutMode.HAND_OVER: HAND_OVER}


@dataclass(frozen=True, slots=True)
class RolloutChoice:
    """A strategy with a machine-readable reason and a message; `node` is where the new pod fits."""

    strategy: RolloutStrategy
    reason: str
    message: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes and the sums of their pods' requests."""

    nodes: Sequence[NodeView]
    used: Used


def choose(
    pod: dict[str, Any],
    old: Sequence[PodView],
    cluster: Cluster | None,
    mode: RolloutMode = RolloutMode.AUTO,
    pinned: Pinned | None = None,
) -> RolloutChoice:
    """The strategy of a rollout to pods with this PodSpec, while `old` pods are running.

    `pinned` is a volume of the pod that one node at a time can mount. Where the new pod does not
    fit even in place of an old one, the strategy is surge unless `mode` is HandOver: a version that
    no node can run must not stop the working one.
    """
    if mode is not RolloutMode.AUTO:
        reason = "Requested" if old else FIRST_VERSION
        return RolloutChoice(REQUESTED[mode], reason, f"spec.rollout.strategy is {mode.value}.")
    if not old:
        return RolloutChoice(SURGE, FIRST_VERSION, "No older servers to replace.")
    if pinned is not None and pinned.to_one_pod:
        return _in_use(pinned)
    if cluster is None:
        return _unknown(pod)
    gpus = accelerators(pod)
    kind = ", ".join(shown(name, amount) for name, amount in gpus.items()) or "capacity"
    free = fitting(pod, cluster.nodes, cluster.used)
    # A volume for one node can be mounted by several pods there, so the new one may join the old.
    if free and pinned is not None and not set(free) <= {one.node for one in old}:
        return _in_use(pinned)
    if free and device_claims(pod):
        return RolloutChoice(
            SURGE,
            CAPACITY_UNKNOWN,
            f"Node {free[0]} has {kind} free, but free devices of resource claims are unknown: if "
            "the new server finds none, an old server is stopped first.",
            free[0],
        )
    if free:
        return RolloutChoice(SURGE, "FreeCapacity", f"Node {free[0]} has {kind} free.", free[0])
    for one in old:
        if one.node and fitting(pod, cluster.nodes, without(cluster.used, one)):
            return RolloutChoice(
                HAND_OVER,
                "NoFreeCapacity",
                f"No node has {kind} free: each old server is stopped before its successor starts.",
                one.node,
            )
    return RolloutChoice(
        SURGE,
        FITS_NOWHERE,
        f"No node could run the new version ({kind}), not even in place of an old server, so the "
        "old servers keep running.",
    )


def without(used: Used, pod: PodView) -> Used:
    """The sums of requests without `pod`."""
    left = dict(used.get(pod.node, {}))
    for name, amount in {"pods": 1000, **pod.requests}.items():
        left[name] = left.get(name, 0) - amount
    return {**used, pod.node: left}


def _unknown(pod: dict[str, Any]) -> RolloutChoice:
    if is_accelerated(pod):
        return RolloutChoice(
            HAND_OVER,
            "CapacityUnknown",
            "The operator may not read nodes; servers with accelerators are replaced in place.",
        )
    return RolloutChoice(SURGE, "CapacityUnknown", "The operator may not read nodes.")


def _in_use(pinned: Pinned) -> RolloutChoice:
    return RolloutChoice(
        HAND_OVER,
        "VolumeInUse",
        f"The volume of claim {pinned.claim} can be mounted {pinned.where} at a time: each old "
        "server is stopped before its successor starts.",
    )
