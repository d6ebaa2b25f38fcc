"""Observed states of a model whose objects exist, and the states after a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.resources import children
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.profiles import ModelCache
from support.operator_objects import NOW, model, pod

Observe = Callable[..., Observed]


def version(observed: Observed) -> str:
    """Digest of the pod template the spec requests."""
    template = pod_template(observed.name, observed.resolution, observed.settings)
    assert isinstance(template, dict)
    return str(template["metadata"]["labels"]["modelfleet.dev/template"])


def settled(
    observe: Observe, raw: dict[str, Any], *fares: dict[str, Any], **fields: Any
) -> Observed:
    """A model whose children exist; `fares` are the fields of its current pods."""
    bare = observe(raw, **fields)
    decision = reconcile(bare)
    children = {Ref(child["kind"], child["metadata"]["name"]): with_uid(child)
                for child in decision.objects}  # fmt: skip
    pods = [pod(f"m-{i}", **{"template": version(bare), **fare}) for i, fare in enumerate(fares)]
    return observe(raw, pods, children=children, **fields)


def with_uid(child: dict[str, Any]) -> dict[str, Any]:
    meta = {**child["metadata"], "uid": f"uid-{child['kind']}", "resourceVersion": "1"}
    return {**child, "metadata": meta}


def again(observed: Observed, decision: Decision, now: float = NOW + 60) -> Observed:
    """The next reconciliation, after the status was written."""
    return replace(observed, model={**observed.model, "status": decision.status}, now=now)


def condition_of(decision: Decision, kind: str) -> tuple[str, str, str]:
    (found,) = [one for one in decision.status["conditions"] if one["type"] == kind]
    return found["status"], found["reason"], found["message"]


def with_cache(observed: Observed) -> Observed:
    """The same model, with the claim of its own cache."""
    claim = children.cache_claim(model(), ModelCache(size="1Gi"), None)
    assert claim is not None
    ref = Ref("PersistentVolumeClaim", "m-cache")
    return replace(observed, children={**observed.children, ref: with_uid(claim)})
