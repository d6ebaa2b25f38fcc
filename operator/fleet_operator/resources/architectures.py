"""Restricts a pod to nodes of the architectures that its image is built for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_operator.resources.views import Raw

LABEL = "kubernetes.io/arch"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def with_architectures(pod: Raw, architectures: Sequence[str]) -> dict[str, Any]:
    """The PodSpec with a node affinity; unchanged without architectures.

    The terms of a node affinity are alternatives, so each of them gets the requirement.
    """
    if not architectures:
        return dict(pod)
    wanted = {"key": LABEL, "operator": "In", "values": list(architectures)}
    affinity = pod.get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    terms = (node.get(REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    restricted = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or ()), wanted]}
        for term in terms
    ]
    node = {**node, REQUIRED: {"nodeSelectorTerms": restricted}}
    return {**pod, "affinity": {**affinity, "nodeAffinity": node}}
