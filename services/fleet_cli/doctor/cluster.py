"""Checks of the rights in the cluster of the kubeconfig, by SelfSubjectAccessReviews.

Source: kubernetes.io/docs/reference/access-authn-authz/authorization.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from fleet_cli.doctor.finding import Finding, Level
from fleet_contract.names import GROUP, PLURAL
from fleet_contract.safe_text import printable
from fleet_kube.client import KubeClient
from fleet_kube.connection import connect
from fleet_kube.errors import ConfigError, KubeError
from fleet_kube.kind import Kind

SECONDS = 10.0
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
    finally:
        await client.close()
    return [
        _finding("cluster: install", TO_INSTALL, refused, "may install the chart",
                 "Let an administrator of the cluster install the chart."),
        _finding("cluster: use", TO_USE, refused, f"may use InferenceModels in {namespace}",
                 f"Get a role such as `edit` in {namespace}, or choose another namespace."),
    ]  # fmt: skip


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
