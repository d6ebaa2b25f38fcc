"""How far a DaemonSet that fills node caches is, and which of its nodes fail. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fleet_operator.resources.views import Raw

TRANSIENT = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons for which a container waits before its first start."""
LONGEST = 300


class Progress(NamedTuple):
    """Nodes of a profile, those that have the weights of all its models, and those whose pod fails
    or cannot be created.

    `left_out` models are not in the list, which is full. `refused`: there is no DaemonSet, because
    its name is taken or the API server rejects it.
    """

    nodes: int = 0
    ready: int = 0
    failed: int = 0
    left_out: int = 0
    refused: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether no node waits for weights."""
        return self.ready >= self.nodes


def progress(raw: Raw, left_out: int) -> Progress:
    """From a DaemonSet's status; pods of an earlier list do not count as ready."""
    status = raw.get("status") or {}
    nodes = int(status.get("desiredNumberScheduled", 0))
    if status.get("observedGeneration") != raw["metadata"].get("generation", 0):
        return Progress(nodes, left_out=left_out)
    ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
    absent = max(0, nodes - int(status.get("currentNumberScheduled", nodes)))
    return Progress(nodes, int(ready), absent, left_out)


def failures(pods: Iterable[Raw]) -> dict[str, str]:
    """What failed last, by node, of the pods whose download fails or cannot start."""
    found = {}
    for raw in pods:
        status = raw.get("status") or {}
        for one in status.get("initContainerStatuses") or ():
            if (problem := _problem(one)) is not None:
                # The message of a container is the end of its log.
                text = f"{one['name']}: {problem}"[-LONGEST:]
                found[str(raw["spec"].get("nodeName", ""))] = " ".join(text.split())
    return found


def _problem(status: Mapping[str, Any]) -> str | None:
    """Why a container has failed, also while it is tried again; None if it has not."""
    state = status.get("state") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if ended.get("exitCode", 0) != 0:
        if (state.get("terminated") or {}).get("exitCode") == 0:
            return None
        return str(ended.get("message") or ended.get("reason") or f"exit code {ended['exitCode']}")
    waiting = state.get("waiting") or {}
    if waiting.get("reason", "") in TRANSIENT:
        return None
    return f"{waiting['reason']} {waiting.get('message', '')}"
