"""How a new version replaces the old: beside it where it fits, else in its place.

Pure functions over the pod, the nodes and what their pods request. Called by reconcile when the
pod template changes, and again while a new pod waits for a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleet_operator.decide.capacity import Used, fitting
from fleet_operator.quantity import shown
from fleet_operator.resources.children import RolloutStrategy
from fleet_operator.resources.views import NodeView, PodView, accelerators

SURGE = RolloutStrategy(surge=1, unavailable=0)
"""A new server must be ready before an old one goes."""
HAND_OVER = RolloutStrategy(surge=0, unavailable=1)
"""An old server drains and goes before its successor starts; routers hold requests meanwhile."""
FIRST_VERSION = "FirstVersion"
"""The reason where there is nothing to replace, of which nobody need be told."""
PATIENCE_SECONDS = 20.0
"""A surge pod may wait for a node before the choice is made again."""


@dataclass(frozen=True, slots=True)
class RolloutChoice:
    """A strategy with its reason, in one word and for people."""

    strategy: RolloutStrategy
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes and what their pods request."""

    nodes: Sequence[NodeView]
    used: Used


def choose(pod: dict[str, Any], old: Sequence[PodView], cluster: Cluster | None) -> RolloutChoice:
    """The strategy for a rollout to pods of this PodSpec, while `old` pods serve.

    Where the new pod fits nowhere, not even in the place of an old one, the old ones stay: a
    version that asks for what no node has must not take the working one down.
    """
    gpus = accelerators(pod)
    kind = ", ".join(shown(name, amount) for name, amount in gpus.items()) or "room"
    if not old:
        return RolloutChoice(SURGE, FIRST_VERSION, "No older servers to replace.")
    if cluster is None:
        if gpus:
            return RolloutChoice(
                HAND_OVER,
                "CapacityUnknown",
                "The operator may not read nodes; models on accelerators take turns.",
            )
        return RolloutChoice(SURGE, "CapacityUnknown", "The operator may not read nodes.")
    free = fitting(pod, cluster.nodes, cluster.used)
    if free:
        return RolloutChoice(SURGE, "FreeCapacity", f"Node {free[0]} has {kind} free.")
    for one in old:
        if one.node and fitting(pod, cluster.nodes, without(cluster.used, one)):
            return RolloutChoice(
                HAND_OVER,
                "NoFreeCapacity",
                f"No node has {kind} free: each old server drains and hands over to a new one.",
            )
    return RolloutChoice(SURGE, "FitsNowhere",
                  f"No node could run the new version ({kind}), not even in the place of an old "
                  "server, so the old servers stay.")  # fmt: skip


def without(used: Used, pod: PodView) -> Used:
    """What is requested once `pod` is gone."""
    left = dict(used.get(pod.node, {}))
    for name, amount in {"pods": 1000, **pod.requests}.items():
        left[name] = left.get(name, 0) - amount
    return {**used, pod.node: left}
