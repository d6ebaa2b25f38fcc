"""Reports on the InferencePool of a model: why it has none, and what gateways report of it. Pure.

Source: gateway-api-inference-extension.sigs.k8s.io/api-types/inferencepool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fleet_operator.decide.conditions import ConditionState
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.kinds import INFERENCE_POOL
from fleet_operator.resources.images import Problem

POOL = INFERENCE_POOL.kind
"""Type of the condition; absent unless the spec has an InferencePool."""
REFUSALS = {"Accepted": "NotAccepted", "ResolvedRefs": "RefsNotResolved"}
"""Conditions that gateways report, and the reason if one of them is False."""


def ref(observed: Observed) -> Ref:
    """The InferencePool that the model may have."""
    return Ref(POOL, observed.name)


def problem(observed: Observed) -> Problem | None:
    """Why there is no InferencePool as in the spec. The model is served by routers all the same."""
    if not _is_requested(observed):
        return None
    if not observed.features.inference_pools:
        return Problem(
            "InferencePoolUnavailable",
            f"The cluster does not serve InferencePools ({INFERENCE_POOL.api_version}), or the "
            "operator may not manage them.",
        )
    if ref(observed) in observed.foreign:
        return Problem(
            "InferencePoolNameTaken",
            f"An InferencePool {observed.name!r} exists that does not belong to this "
            "InferenceModel.",
        )
    refusal = observed.errors.get(ref(observed))
    return None if refusal is None else Problem("InferencePoolRefused", refusal)


def conditions(observed: Observed, applied: bool) -> Iterator[ConditionState]:
    """The condition of a requested InferencePool; none if it does not exist and is not `applied` in
    this reconcile."""
    if not _is_requested(observed):
        return
    flaw, found = problem(observed), observed.children.get(ref(observed))
    if flaw is not None:
        yield ConditionState(POOL, "False", flaw.reason, flaw.message)
    elif found is not None or applied:
        yield _of_gateways(found or {})


def _is_requested(observed: Observed) -> bool:
    spec = observed.resolution.spec
    return spec is not None and spec.inference_pool is not None


def _of_gateways(found: Mapping[str, Any]) -> ConditionState:
    """What gateways report of the present generation."""
    parents = (found.get("status") or {}).get("parents") or ()
    accepted = []
    for parent in parents:
        name = _name(parent)
        for one in parent.get("conditions") or ():
            if one["type"] not in REFUSALS or _is_outdated(one, found):
                continue
            if one["status"] == "False":
                message = f"{name}: {one['reason']}: {one['message']}"
                return ConditionState(POOL, "False", REFUSALS[one["type"]], message)
            if (one["type"], one["status"]) == ("Accepted", "True"):
                accepted.append(name)
    if accepted:
        return ConditionState(POOL, "True", "Accepted", f"Accepted by {', '.join(accepted)}.")
    return ConditionState(POOL, "True", "Created", "No gateway has accepted it yet.")


def _name(parent: Mapping[str, Any]) -> str:
    reference = parent["parentRef"]
    names = (reference.get("namespace"), reference["name"])
    return f"{reference.get('kind', 'Gateway')} {'/'.join(name for name in names if name)}"


def _is_outdated(condition: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    generation = found["metadata"].get("generation", 0)
    return int(condition.get("observedGeneration", generation)) < int(generation)
