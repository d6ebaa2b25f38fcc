"""A Kubernetes client whose writes are refused unless this operator may write to the namespace.

A reconcile that began before the leadership was lost must not write after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fleet_kube.client import Json, KubeClient
from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind


class NotLeader(KubeError):
    """Another operator holds a Lease that this write needs."""


class LeaderClient(KubeClient):
    """`may_write` is called before every write, with the namespace. Writes raise NotLeader."""

    may_write: Callable[[str], bool] = staticmethod(lambda _: True)

    async def apply(self, kind: Kind, manifest: Mapping[str, Any], force: bool) -> Json:
        self._check(kind, manifest["metadata"].get("namespace", ""))
        return await super().apply(kind, manifest, force)

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Json:
        self._check(kind, namespace)
        return await super().merge_patch(kind, namespace, name, body)

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Json:
        self._check(kind, namespace)
        return await super().patch_status(kind, namespace, name, body)

    async def create(self, kind: Kind, manifest: Mapping[str, Any]) -> Json:
        self._check(kind, manifest["metadata"]["namespace"])
        return await super().create(kind, manifest)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self._check(kind, namespace)
        await super().delete(kind, namespace, name, uid)

    def _check(self, kind: Kind, namespace: str) -> None:
        if not self.may_write(namespace):
            raise NotLeader(f"{kind.kind} in {namespace}: another operator holds the Lease")
