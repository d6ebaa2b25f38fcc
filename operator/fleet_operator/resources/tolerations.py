"""Tolerations for nodes with accelerators, which are often tainted against other pods.

The taint keys are those of GKE, AKS, the GPU operators and the admission plugin
ExtendedResourceToleration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fleet_contract.accelerators import Vendor, vendor
from fleet_operator.resources.views import Raw, accelerators

EFFECT = "NoSchedule"
TAINTS = {"nvidia.com/": "nvidia.com/gpu", "amd.com/": "amd.com/gpu"}
"""Prefix of resource names, such as `nvidia.com/mig-1g.10gb`, and the taint of their nodes."""
DEVICE_TAINTS = {Vendor.NVIDIA: "nvidia.com/gpu", Vendor.AMD: "amd.com/gpu"}
"""Vendor of device classes, and the taint of their nodes."""


def with_accelerators(pod: Raw, classes: Iterable[str] = ()) -> dict[str, Any]:
    """The PodSpec, with a toleration for each kind of accelerator that it requests, by resources or
    of device `classes`.

    None is added where an existing one tolerates any value of the taint.
    """
    present = list(pod.get("tolerations") or ())
    added = [
        {"key": key, "operator": "Exists", "effect": EFFECT}
        for key in sorted(_taints(pod) | _device_taints(classes))
        if not any(_covers(toleration, key) for toleration in present)
    ]
    return {**pod, "tolerations": [*present, *added]} if added else dict(pod)


def _taints(pod: Raw) -> set[str]:
    requested = [name for name, amount in accelerators(pod).items() if amount > 0]
    return {key for name in requested for prefix, key in TAINTS.items() if name.startswith(prefix)}


def _device_taints(classes: Iterable[str]) -> set[str]:
    found = (vendor(name) for name in classes)
    return {DEVICE_TAINTS[one] for one in found if one in DEVICE_TAINTS}


def _covers(toleration: Raw, key: str) -> bool:
    return (
        toleration.get("operator") == "Exists"
        and toleration.get("key") in (None, "", key)
        and toleration.get("effect") in (None, "", EFFECT)
    )
