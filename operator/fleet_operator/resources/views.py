"""Immutable views of pods and nodes, with the fields the operator needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, NamedTuple

from fleet_contract.names import LABEL_MODEL
from fleet_operator.names import (
    LABEL_TEMPLATE,
    PORT_NAME,
    SERVER_COMMAND,
    SERVER_CONTAINER,
)
from fleet_operator.quantity import add, amounts
from fleet_operator.timestamps import parse

Raw = Mapping[str, Any]
LABEL_REPLICA_SET = "pod-template-hash"
"""Label that the Deployment controller adds to ReplicaSets and their pods."""


ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""On pods: of those that are equally ready, a ReplicaSet removes the one with the lowest first."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container exited; `message` is its termination message or the tail of its log."""

    exit_code: int
    reason: str
    message: str

    @classmethod
    def parse(cls, raw: Raw | None) -> Termination | None:
        if not raw:
            return None
        return cls(int(raw.get("exitCode", 0)), raw.get("reason", ""), raw.get("message", ""))


@dataclass(frozen=True, slots=True)
class PodCondition:
    """`since` is the Unix time of the last transition, None if unknown."""

    status: str
    reason: str
    message: str
    since: float | None


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod; times are Unix time. Container fields are those of the server's container."""

    namespace: str
    name: str
    uid: str
    version: str
    model: str
    template: str
    labels: Mapping[str, str]
    created: float
    deleting: bool
    phase: str
    reason: str
    message: str
    node: str
    ip: str
    port: int
    requests: Mapping[str, int]
    conditions: Mapping[str, PodCondition]
    ready: bool
    restarts: int
    waiting: tuple[str, str] | None
    started: float | None
    ended: Termination | None
    last_ended: Termination | None
    memory_limit: str
    own_server: bool
    """Whether the container runs this project's server, whose log events have known fields."""
    deletion_cost: str

    @property
    def active(self) -> bool:
        """Whether it counts as a server: neither terminated nor being deleted."""
        return not self.deleting and not self.terminal

    @property
    def terminal(self) -> bool:
        """Whether its containers have ended for good: it takes nothing of its node, and may exist
        for long, such as one that was evicted."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def replica_set(self) -> str:
        """Hash of the pod's ReplicaSet, which differs for each pod template of a Deployment."""
        return self.labels.get(LABEL_REPLICA_SET, "")

    @classmethod
    def parse(cls, raw: Raw) -> PodView:
        """From a Pod object."""
        meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
        # Interned: thousands of pods share their labels, phases and node names.
        labels = {intern(key): intern(value) for key, value in (meta.get("labels") or {}).items()}
        container = _named(spec.get("containers"))
        state = _named(status.get("containerStatuses"))
        running = state.get("state", {}).get("running") or {}
        waiting = state.get("state", {}).get("waiting")
        conditions = {
            intern(item["type"]): PodCondition(
                item.get("status", ""),
                item.get("reason", ""),
                item.get("message", ""),
                parse(item.get("lastTransitionTime")),
            )
            for item in status.get("conditions") or ()
        }
        ready = conditions.get("Ready")
        return cls(
            namespace=intern(meta.get("namespace", "")),
            name=meta["name"],
            uid=meta["uid"],
            version=meta.get("resourceVersion", ""),
            model=labels.get(LABEL_MODEL, ""),
            template=labels.get(LABEL_TEMPLATE, ""),
            labels=labels,
            created=parse(meta.get("creationTimestamp")) or 0.0,
            deleting=meta.get("deletionTimestamp") is not None,
            phase=intern(status.get("phase", "")),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            node=intern(spec.get("nodeName", "")),
            ip=status.get("podIP", ""),
            port=served_port(container),
            requests=pod_requests(spec),
            conditions=conditions,
            ready=ready is not None and ready.status == "True",
            restarts=int(state.get("restartCount", 0)),
            waiting=(waiting.get("reason", ""), waiting.get("message", "")) if waiting else None,
            started=parse(running.get("startedAt")),
            ended=Termination.parse(state.get("state", {}).get("terminated")),
            last_ended=Termination.parse(state.get("lastState", {}).get("terminated")),
            memory_limit=container.get("resources", {}).get("limits", {}).get("memory", ""),
            own_server=container.get("command") == SERVER_COMMAND,
            deletion_cost=(meta.get("annotations") or {}).get(ANNOTATION_DELETION_COST, "0"),
        )


class PodUsage(NamedTuple):
    """What a pod takes of its node, in thousandths; without a node, nothing."""

    node: str
    requests: Mapping[str, int]

    @classmethod
    def parse(cls, raw: Raw) -> PodUsage:
        """From a Pod object; one that has ended takes nothing."""
        spec = raw.get("spec", {})
        node = spec.get("nodeName", "")
        if not node or raw.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return cls("", {})
        return cls(intern(node), {intern(name): n for name, n in pod_requests(spec).items()})


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node; `allocatable` in thousandths."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Raw, ...]
    allocatable: Mapping[str, int]
    usable: bool
    uid: str = ""

    @classmethod
    def parse(cls, raw: Raw) -> NodeView:
        """From a Node object; `usable` is False if it is cordoned or not Ready."""
        meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
        ready = any(
            item["type"] == "Ready" and item["status"] == "True"
            for item in status.get("conditions") or ()
        )
        return cls(
            name=meta["name"],
            labels=dict(meta.get("labels") or {}),
            taints=tuple(spec.get("taints") or ()),
            allocatable=amounts(status.get("allocatable")),
            usable=ready and not spec.get("unschedulable", False),
            uid=meta.get("uid", ""),
        )


def accelerators(pod: Raw) -> dict[str, int]:
    """The extended resources a pod requests, such as `nvidia.com/gpu`."""
    return {name: amount for name, amount in pod_requests(pod).items() if "/" in name}


def device_claims(pod: Raw) -> list[str]:
    """Names of the claims of devices (resource.k8s.io) in a PodSpec."""
    return [str(claim["name"]) for claim in pod.get("resourceClaims") or ()]


def is_accelerated(pod: Raw) -> bool:
    """Whether a PodSpec requests accelerators, as extended resources or as claims of devices."""
    return bool(accelerators(pod)) or bool(device_claims(pod))


def pod_requests(spec: Raw) -> dict[str, int]:
    """What the scheduler counts for a pod: the sum of containers and sidecars, or the largest init
    container if that is more, plus the overhead.

    Source: kubernetes.io/docs/concepts/workloads/pods/init-containers (resource sharing).
    """
    total: dict[str, int] = {}
    for container in spec.get("containers") or ():
        add(total, requests(container))
    largest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":  # a sidecar, which keeps running
            add(total, requests(container))
            continue
        for name, amount in requests(container).items():
            largest[name] = max(largest.get(name, 0), amount)
    for name, amount in largest.items():
        total[name] = max(total.get(name, 0), amount)
    add(total, amounts(spec.get("overhead")))
    return total


def requests(container: Raw) -> dict[str, int]:
    """Requests of a container; a limit without a request counts as one."""
    resources = container.get("resources", {})
    return amounts(resources.get("limits")) | amounts(resources.get("requests"))


def _named(items: list[Raw] | None) -> Raw:
    """The server's container, or the first one."""
    found = [item for item in items or () if item["name"] == SERVER_CONTAINER]
    return found[0] if found else (items or [{}])[0]


def served_port(container: Raw) -> int:
    """The port that the Service's `targetPort` names, 0 for none."""
    ports = container.get("ports") or ()
    return next((port["containerPort"] for port in ports if port.get("name") == PORT_NAME), 0)
