"""Accelerators of a pod by dynamic resource allocation (DRA): the claim of its server.

Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fleet_contract.pod.resources import DeviceRequest
from fleet_operator.names import SERVER_CONTAINER
from fleet_operator.resources.digests import digest
from fleet_operator.resources.views import Raw

CLAIM = "devices"
"""Name of the claim in the pod."""
_TEMPLATE_NAME = re.compile(r"(?P<model>.+)-devices-[0-9a-f]{12}")


def template_name(name: str, requests: Sequence[DeviceRequest]) -> str:
    """Name of the ResourceClaimTemplate of the InferenceModel `name`.

    Its spec is immutable, so the name depends on the content.
    """
    return f"{name}-devices-{digest(claim_spec(requests))}"


def model_of_template(name: str) -> str | None:
    """Name of the InferenceModel that may have a ResourceClaimTemplate of this name."""
    found = _TEMPLATE_NAME.fullmatch(name)
    return found["model"] if found is not None else None


def claim_spec(requests: Sequence[DeviceRequest]) -> dict[str, Any]:
    """The spec of a ResourceClaimTemplate."""
    made = []
    for i, one in enumerate(requests):
        exactly: dict[str, Any] = {
            "deviceClassName": one.device_class,
            "allocationMode": "ExactCount",
            "count": one.count,
        }
        if one.selectors:
            exactly["selectors"] = [{"cel": {"expression": text}} for text in one.selectors]
        made.append({"name": f"device-{i}", "exactly": exactly})
    return {"spec": {"devices": {"requests": made}}}


def with_devices(pod: Raw, name: str, requests: Sequence[DeviceRequest]) -> dict[str, Any]:
    """The PodSpec, with a claim of the devices for its server's container."""
    if not requests:
        return dict(pod)
    claim = {"name": CLAIM, "resourceClaimTemplateName": template_name(name, requests)}
    containers = [
        _claiming(one) if one["name"] == SERVER_CONTAINER else one for one in pod["containers"]
    ]
    return {**pod, "containers": containers, "resourceClaims": [claim]}


def _claiming(container: Raw) -> dict[str, Any]:
    resources = {**(container.get("resources") or {}), "claims": [{"name": CLAIM}]}
    return {**container, "resources": resources}
