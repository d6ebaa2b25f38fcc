"""Volumes of a pod that only one node, or one pod, can mount at a time. Pure.

Source: kubernetes.io/docs/concepts/storage/persistent-volumes (access modes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_operator.resources.images import Problem
from fleet_operator.resources.views import Raw

REPLICAS_LIMITED = "ReplicasLimited"
"""Condition and reason of a model with fewer servers than wanted."""
ONE_NODE = "ReadWriteOnce"
ONE_POD = "ReadWriteOncePod"
SHARED = frozenset({"ReadWriteMany", "ReadOnlyMany"})


@dataclass(frozen=True, slots=True)
class Pinned:
    """A claim whose volume one node can mount at a time, or with `to_one_pod` one pod."""

    claim: str
    to_one_pod: bool

    @property
    def mode(self) -> str:
        return ONE_POD if self.to_one_pod else ONE_NODE

    @property
    def where(self) -> str:
        return "by one pod" if self.to_one_pod else "on one node"


def pinned(pod: Raw, access_modes: Mapping[str, frozenset[str]]) -> Pinned | None:
    """The first such claim of a PodSpec. `access_modes` maps claims to their access modes; one
    that is not listed, or lists none, is taken for shared."""
    found = []
    for volume in pod.get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        modes = access_modes.get(claim, frozenset())
        if modes and not modes & SHARED:
            found.append(Pinned(claim, modes == {ONE_POD}))
    return min(found, key=lambda one: not one.to_one_pod, default=None)


def modes_of(claim: Raw) -> frozenset[str]:
    """The access modes of a PersistentVolumeClaim: of its volume once it is bound."""
    bound = (claim.get("status") or {}).get("accessModes")
    return frozenset(bound or (claim.get("spec") or {}).get("accessModes") or ())


@dataclass(frozen=True, slots=True)
class ReplicaLimit:
    """The number of servers that can mount a volume, and why there are not more."""

    replicas: int
    problem: Problem


def limit_replicas(volume: Pinned, wanted: int, ready: int) -> ReplicaLimit | None:
    """One server for such a volume, None if no more are wanted.

    Those beyond the first that are `ready` are kept, since they are on the same node.
    """
    allowed = max(1, ready)
    if wanted <= allowed:
        return None
    message = (
        f"{wanted} servers are wanted, but the volume of claim {volume.claim} is {volume.mode}: it "
        f"can be mounted {volume.where} at a time. Use a claim with ReadWriteMany, or one server."
    )
    return ReplicaLimit(allowed, Problem(REPLICAS_LIMITED, message))
