"""Detects writers that keep changing replicas which the operator decides. Pure.

An HPA on the Deployment is set back at every reconcile, and one on an InferenceModel with
`targetInFlight` has no effect. Both are mistakes of configuration that no single write reveals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fleet_operator.decide.conditions import ConditionState
from fleet_operator.decide.observed import Observed, ReplicaWrite
from fleet_operator.names import FIELD_MANAGER

OVERWRITTEN = "ReplicasOverwritten"
"""Type of the condition; absent unless True."""
WRITES = 3
WINDOW_SECONDS = 600.0
"""A writer that wrote so often within this time keeps writing."""

DEPLOYMENT = "Deployment"
MODEL = "InferenceModel"


def writer(raw: Mapping[str, Any]) -> str:
    """The field manager that last wrote `spec.replicas` through an update, "" if none but the
    operator did. An apply by the operator takes the field away from all others."""
    found = [
        (entry.get("time") or "", str(entry.get("manager") or "unknown"))
        for entry in raw["metadata"].get("managedFields") or ()
        if entry.get("manager") != FIELD_MANAGER
        if entry.get("operation") == "Update"
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(found)[1] if found else ""


def conditions(observed: Observed) -> Iterator[ConditionState]:
    """The condition that names a writer which keeps writing, if any."""
    if writes := _latest(observed, DEPLOYMENT):
        message = (
            f"{writes[-1].manager!r} keeps writing the replicas of the Deployment"
            f" {observed.name!r}; the operator sets them back. Scale the InferenceModel instead."
        )
        yield ConditionState(OVERWRITTEN, "True", "DeploymentScaled", message)
    elif writes := _latest(observed, MODEL):
        message = (
            f"{writes[-1].manager!r} keeps writing spec.replicas, which has no effect with"
            " targetInFlight. Remove one of the two."
        )
        yield ConditionState(OVERWRITTEN, "True", "AutoscalingOn", message)


def requeue_after(observed: Observed) -> float | None:
    """Seconds until the condition ends if nothing is written any more."""
    ends = [
        writes[-WRITES].at + WINDOW_SECONDS - observed.now
        for kind in (DEPLOYMENT, MODEL)
        if (writes := _latest(observed, kind))
    ]
    return max(ends, default=None)


def _latest(observed: Observed, kind: str) -> list[ReplicaWrite]:
    """The writes of the window if they are enough, else none."""
    spec = observed.resolution.spec
    if kind == MODEL and (spec is None or spec.target_in_flight is None):
        return []
    since = observed.now - WINDOW_SECONDS
    writes = [one for one in observed.replica_writes if one.kind == kind and one.at > since]
    return writes if len(writes) >= WRITES else []
