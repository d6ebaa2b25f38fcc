"""The ServiceAccount that requests are made as."""

from __future__ import annotations

from typing import NamedTuple

from fleet_kube.client import KubeClient
from fleet_kube.kind import Kind

REVIEW = Kind(
    "authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False
)
PREFIX = "system:serviceaccount:"


class ServiceAccount(NamedTuple):
    """A ServiceAccount in the cluster."""

    namespace: str
    name: str
    uid: str


async def own_service_account(api: KubeClient) -> ServiceAccount | None:
    """The ServiceAccount that requests of `api` are made as; None if they are made as a user, or
    if its uid is unknown.

    By default everyone may ask this, without further permissions. Raises ApiError and
    ApiUnreachable. Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
    (API access to authentication information for a client).
    """
    body = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {}}
    review = await api.create(REVIEW, body)
    user = (review.get("status") or {}).get("userInfo") or {}
    username, uid = user.get("username", ""), user.get("uid", "")
    if not (username.startswith(PREFIX) and uid):
        return None
    namespace, _, name = username.removeprefix(PREFIX).partition(":")
    return ServiceAccount(namespace, name, uid)
