"""Checks of the cluster of the kubeconfig: rights, by SelfSubjectAccessReviews, and GPUs of nodes.

Sources: kubernetes.io/docs/reference/access-authn-authz/authorization and
concepts/extend-kubernetes/compute-storage-net/device-plugins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from fleet_cli.doctor.finding import Finding, Level
from fleet_contract.names import API_VERSION, GROUP, KIND, PLURAL
from fleet_contract.safe_text import printable
from fleet_kube.client import KubeClient
from fleet_kube.connection import connect
from fleet_kube.errors import ApiError, ConfigError, KubeError
from fleet_kube.kind import Kind

SECONDS = 10.0
NODE = Kind("v1", "Node", "nodes", namespaced=False)
MODEL = Kind(API_VERSION, KIND, PLURAL)
GPUS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
"""Resources of the vendors' device plugins."""
GPU_LABELS = {
    "nvidia.com/gpu.present": "NVIDIA", "feature.node.kubernetes.io/pci-10de.present": "NVIDIA",
    "amd.com/gpu.present": "AMD", "feature.node.kubernetes.io/pci-1002.present": "AMD",
}  # fmt: skip
"""Labels that node feature discovery gives to nodes with a GPU, whether or not it can be used."""
SHOWN_NODES = 3
REVIEW = Kind(
    "authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False
)


class Right(NamedTuple):
    """`namespaced`: in the namespace of the kubeconfig's context, else in the whole cluster."""

    verb: str
    group: str
    plural: str
    namespaced: bool = False


TO_INSTALL = (
    Right("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("create", "rbac.authorization.k8s.io", "clusterroles"),
    Right("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
)
TO_USE = (
    Right("create", GROUP, PLURAL, namespaced=True),
    Right("patch", GROUP, PLURAL, namespaced=True),
)


def rights(environ: Mapping[str, str], seconds: float = SECONDS) -> list[Finding]:
    """What the user of the kubeconfig may do; one warning where the cluster cannot be reached."""
    try:
        return asyncio.run(asyncio.wait_for(_rights(environ), seconds))
    except TimeoutError:
        reason = f"no response within {seconds:.0f} s"
    except (ConfigError, KubeError) as error:
        reason = printable(str(error))
    return [
        Finding(
            "cluster", Level.WARNING, reason,
            "Check the kubeconfig with `kubectl version`; `modelfleet up` needs no cluster.",
        )
    ]  # fmt: skip


async def _rights(environ: Mapping[str, str]) -> list[Finding]:
    connection = await connect(environ)
    client = KubeClient(connection, "modelfleet-doctor")
    try:
        namespace = connection.namespace
        refused = [
            right for right in (*TO_INSTALL, *TO_USE) if not await _allows(client, right, namespace)
        ]
        installed = await client.serves(MODEL)
        nodes = await _nodes(client)
    finally:
        await client.close()
    return [
        _finding("cluster: install", TO_INSTALL, refused, "may install the chart",
                 "Let an administrator of the cluster install the chart."),
        _finding("cluster: use", TO_USE, refused, f"may use InferenceModels in {namespace}",
                 f"Get a role such as `edit` in {namespace}, or choose another namespace."),
        Finding("cluster: definition", Level.OK, "InferenceModel is installed") if installed else
        Finding("cluster: definition", Level.WARNING, "InferenceModel is not installed",
                "Install the chart (docs/operations.md)."),
        gpus(nodes),
    ]  # fmt: skip


async def _nodes(client: KubeClient) -> list[dict[str, Any]] | None:
    """The nodes; None if they may not be listed."""
    try:
        return await client.items(NODE, None)
    except ApiError as error:
        if error.status == 403:
            return None
        raise


def gpus(nodes: list[dict[str, Any]] | None) -> Finding:
    """Whether nodes with GPUs have a device plugin, which offers them to pods."""
    check = "cluster: gpu"
    if nodes is None:
        return Finding(check, Level.OK, "unknown: nodes may not be listed")
    without: dict[str, list[str]] = {}
    offered: dict[str, int] = {}
    for node in nodes:
        meta = node["metadata"]
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        found = {name: int(allocatable[name]) for name in GPUS if allocatable.get(name, "0") != "0"}
        for name, number in found.items():
            offered[name] = offered.get(name, 0) + number
        labels = meta.get("labels") or {}
        vendor = next((GPU_LABELS[one] for one in GPU_LABELS if labels.get(one) == "true"), "")
        if vendor and not found:
            without.setdefault(vendor, []).append(meta["name"])
    if without:
        vendor, names = next(iter(without.items()))
        shown = ", ".join(names[:SHOWN_NODES]) + (", ..." if len(names) > SHOWN_NODES else "")
        return Finding(
            check, Level.WARNING, f"{vendor} GPUs that no device plugin offers to pods: {shown}",
            f"Install {vendor}'s GPU operator or device plugin, and its drivers, on these nodes.",
        )  # fmt: skip
    if offered:
        listed = ", ".join(f"{number} {name}" for name, number in sorted(offered.items()))
        return Finding(check, Level.OK, f"{listed} in {len(nodes)} nodes")
    return Finding(check, Level.OK, "no node offers a GPU: models run on CPUs")


async def _allows(client: KubeClient, right: Right, namespace: str) -> bool:
    attributes: dict[str, Any] = {
        "verb": right.verb, "group": right.group, "resource": right.plural,
    }  # fmt: skip
    if right.namespaced:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {"namespace": ""},
        "spec": {"resourceAttributes": attributes},
    }  # fmt: skip
    answer = await client.create(REVIEW, review)
    return (answer.get("status") or {}).get("allowed") is True


def _finding(
    check: str, needed: tuple[Right, ...], refused: list[Right], message: str, remedy: str
) -> Finding:
    missing = [f"{right.verb} {right.plural}" for right in needed if right in refused]
    if missing:
        return Finding(check, Level.WARNING, f"may not {', '.join(missing)}", remedy)
    return Finding(check, Level.OK, message)
