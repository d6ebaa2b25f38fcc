"""Tolerations that come with an accelerator: nodes that have one often repel every other pod.

The keys are those that GKE, AKS, the GPU operators and the admission plugin
ExtendedResourceToleration taint and tolerate with.
"""

from __future__ import annotations

from typing import Any

from fleet_operator.resources.views import Raw, accelerators

EFFECT = "NoSchedule"
TAINTS = {"nvidia.com/": "nvidia.com/gpu", "amd.com/": "amd.com/gpu"}
"""Prefix of a resource's name, such as that of `nvidia.com/mig-1g.10gb`, and its nodes' taint."""


def with_accelerators(pod: Raw) -> dict[str, Any]:
    """The PodSpec, with a toleration for each kind of accelerator that it asks for.

    A toleration that covers any value of the taint is left to do its work alone.
    """
    present = list(pod.get("tolerations") or ())
    added = [
        {"key": key, "operator": "Exists", "effect": EFFECT}
        for key in _taints(pod)
        if not any(_covers(toleration, key) for toleration in present)
    ]
    return {**pod, "tolerations": [*present, *added]} if added else dict(pod)


def _taints(pod: Raw) -> list[str]:
    asked = [name for name, amount in accelerators(pod).items() if amount > 0]
    return sorted(
        {key for name in asked for prefix, key in TAINTS.items() if name.startswith(prefix)}
    )


def _covers(toleration: Raw, key: str) -> bool:
    return (
        toleration.get("operator") == "Exists"
        and toleration.get("key") in (None, "", key)
        and toleration.get("effect") in (None, "", EFFECT)
    )
