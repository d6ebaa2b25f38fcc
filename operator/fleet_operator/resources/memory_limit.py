"""The memory limit of a server whose spec, profile and podTemplate set none. Pure.

A limit without a request would be the request as well, and then the pod would fit few nodes: a
small request is added where there is none.
"""

from __future__ import annotations

from typing import Any

from fleet_operator.names import SERVER_CONTAINER
from fleet_operator.quantity import thousandths
from fleet_operator.resources.estimate import gibibytes
from fleet_operator.resources.views import Raw

MEMORY = "memory"
SMALLEST_REQUEST = "128Mi"
"""Every server uses at least this much."""


def with_memory_limit(pod: Raw, estimate: int, factor: float) -> dict[str, Any]:
    """The PodSpec with a limit of `factor` times the larger of request and `estimate`, in bytes.

    `factor` 0 sets no limit. Raises ValueError for a request that is not a quantity.
    """
    if not factor:
        return dict(pod)
    containers = [
        _limited(one, estimate, factor) if one["name"] == SERVER_CONTAINER else one
        for one in pod["containers"]
    ]
    return {**pod, "containers": containers}


def _limited(container: Raw, estimate: int, factor: float) -> dict[str, Any]:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if MEMORY in limits:
        return dict(container)
    request = requests.get(MEMORY, SMALLEST_REQUEST)
    limit = gibibytes(factor * max(estimate, thousandths(request) / 1000))
    return {
        **container,
        "resources": {
            **resources,
            "requests": {**requests, MEMORY: request},
            "limits": {**limits, MEMORY: limit},
        },
    }
