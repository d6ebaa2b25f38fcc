"""Nodes that exist only in the API, with GPUs if a test needs them."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.api import Api, Json
from harness.netns import NODE_ADDRESS

GPU = "nvidia.com/gpu"
GPU_PRODUCT = "nvidia.com/gpu.product"


def node(
    name: str,
    *,
    gpus: int = 0,
    product: str | None = None,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    cpu: str = "32",
    memory: str = "256Gi",
) -> Json:
    """Manifest of a ready node; `product`, such as `NVIDIA-L4`, becomes its GPU label."""
    capacity = {"cpu": cpu, "memory": memory, "pods": "1100", "ephemeral-storage": "500Gi"}
    if gpus:
        capacity[GPU] = str(gpus)
    standard = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **standard,
                **({GPU_PRODUCT: product} if product else {}),
                **(labels or {}),
            },
        },
        "spec": {"taints": taints or []},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": NODE_ADDRESS},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "simulated by the test",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
            ],
        },
    }


def on_node(name: str) -> dict[str, dict[str, str]]:
    """Node selector for this node only: other tests have nodes too."""
    return {"nodeSelector": {"kubernetes.io/hostname": name}}


def add_gpus(api: Api, name: str, count: int, product: str) -> None:
    """Add the extended resource and the label of GPUs to a node, without real GPUs."""
    target = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    amounts = {GPU: str(count)}
    status = {"status": {"capacity": amounts, "allocatable": amounts}}
    api.patch(target, status, sub="status")
    api.patch(target, {"metadata": {"labels": {GPU_PRODUCT: product}}})
