"""Which nodes could run a pod: the scheduler's main filters as a pure function.

Covered: readiness and cordon, nodeSelector, required node affinity, taints, resources. Others
(volumes, spread, pod affinity) are left to the scheduler: a wrong result here only makes a rollout
slower.
Semantics: kubernetes.io/docs/concepts/scheduling-eviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleet_operator.quantity import Amounts, shown
from fleet_operator.resources.views import NodeView, Raw, pod_requests

Used = Mapping[str, Amounts]
"""Node name to the sum of its pods' requests."""
NOTHING: dict[str, int] = {}


def why_not(pod: Raw, node: NodeView, used: Amounts) -> str | None:
    """Why a pod with this PodSpec cannot run on `node` now; None if it can."""
    if not node.usable:
        return "is cordoned or not ready"
    for key, value in (pod.get("nodeSelector") or {}).items():
        if node.labels.get(key) != value:
            return f"lacks the label {key}={value}"
    required = (
        ((pod.get("affinity") or {}).get("nodeAffinity") or {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", {})
        .get("nodeSelectorTerms")
    )
    if required is not None and not any(_term(term, node) for term in required):
        return "does not match the required node affinity"
    for taint in node.taints:
        if taint.get("effect") != "PreferNoSchedule" and not _tolerated(taint, pod):
            return f"has the taint {taint['key']}={taint.get('value', '')}:{taint['effect']}"
    # A pod takes one of the node's `pods`, which is 1000 thousandths.
    for name, amount in {"pods": 1000, **pod_requests(pod)}.items():
        free = node.allocatable.get(name, 0) - used.get(name, 0)
        if amount > free:
            return f"has {shown(name, max(free, 0))} free of the requested {shown(name, amount)}"
    return None


def fitting(pod: Raw, nodes: Iterable[NodeView], used: Used) -> list[str]:
    """Names of the nodes that could run the pod now."""
    return [node.name for node in nodes if why_not(pod, node, used.get(node.name, NOTHING)) is None]


def _tolerated(taint: Raw, pod: Raw) -> bool:
    return any(
        toleration.get("effect", taint["effect"]) in (taint["effect"], "")
        and (
            (toleration.get("operator") == "Exists" and toleration.get("key", taint["key"])
             in (taint["key"], ""))
            or (toleration.get("operator", "Equal") == "Equal"
                and toleration.get("key") == taint["key"]
                and toleration.get("value", "") == taint.get("value", ""))
        )
        for toleration in pod.get("tolerations") or ()
    )  # fmt: skip


def _term(term: Raw, node: NodeView) -> bool:
    rules = [(rule, node.labels) for rule in term.get("matchExpressions") or ()]
    # The only field that Kubernetes supports there.
    rules += [(rule, {"metadata.name": node.name}) for rule in term.get("matchFields") or ()]
    # An empty term matches no node, as in the scheduler.
    return bool(rules) and all(_matches(rule, labels) for rule, labels in rules)


def _matches(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(rule["key"]), rule.get("values") or []
    match rule["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _number(value) is not None and int(value or 0) > int(values[0])
        case "Lt":
            return _number(value) is not None and int(value or 0) < int(values[0])
    return False


def _number(value: str | None) -> int | None:
    try:
        return int(value or "")
    except ValueError:
        return None
