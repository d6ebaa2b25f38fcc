"""The status that kstatus computes for a custom resource: Current, InProgress or Failed.

Source: github.com/kubernetes-sigs/cli-utils, pkg/kstatus/status: generic.go (deletion, generation,
`Reconciling`, `Stalled`) and status.go (`Ready`, and Current where nothing contradicts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def computed(resource: Mapping[str, Any]) -> str:
    """The status of an object that has no rules of its own in kstatus."""
    meta, status = resource["metadata"], resource.get("status") or {}
    if meta.get("deletionTimestamp"):
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != meta["generation"]:
        return "InProgress"
    conditions = status.get("conditions") or []
    for one in conditions:
        if one["type"] == "Reconciling" and one["status"] == "True":
            return "InProgress"
        if one["type"] == "Stalled" and one["status"] == "True":
            return "Failed"
    ready = next((one["status"] for one in conditions if one["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"
