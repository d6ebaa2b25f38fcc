"""The request for disk of a server that stores its weights on the node. Pure.

Without one the scheduler places servers on nodes whose disk is full, and a pod that requests
nothing is evicted first (kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction).
"""

from __future__ import annotations

from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_operator.names import SERVER_CONTAINER
from fleet_operator.resources import estimate
from fleet_operator.resources.views import Raw

DISK = "ephemeral-storage"
MIB = 1024**2
MODELS = "models"
"""Name of the volume for fetched and converted weights."""
FETCHED = ("hf://", "s3://", "https://", "http://", "pypi://")
"""Beginnings of sources that are always fetched; others are in the image or on a volume."""


def with_disk_request(pod: Raw, spec: ModelSpec) -> dict[str, Any]:
    """The PodSpec with a request for the weights, if they are fetched to the node, their size is
    known, and nothing is requested for the disk or limits it."""
    needed = estimate.fetched(spec)
    source = spec.source or ""
    if needed is None or not source.startswith(FETCHED) or not _on_node(pod):
        return dict(pod)
    containers = [
        _requesting(one, f"{-(-needed // MIB)}Mi") if one["name"] == SERVER_CONTAINER else one
        for one in pod["containers"]
    ]
    return {**pod, "containers": containers}


def _on_node(pod: Raw) -> bool:
    """Whether the weights are in a volume on the node's disk that ends with the pod."""
    volumes = {one["name"]: one for one in pod.get("volumes") or ()}
    folder = volumes.get(MODELS, {}).get("emptyDir")
    return folder is not None and folder.get("medium", "") == ""


def _requesting(container: Raw, size: str) -> dict[str, Any]:
    resources = container.get("resources") or {}
    requests = resources.get("requests") or {}
    if DISK in requests or DISK in (resources.get("limits") or {}):
        return dict(container)
    return {**container, "resources": {**resources, "requests": {**requests, DISK: size}}}
