"""A Kubernetes client whose writes are refused unless this operator may write to the namespace.

A reconcile that began before the leadership was lost must not write after it, nor may a request
that waited for its turn, or to be sent again.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind


class NotLeader(KubeError):
    """Another operator holds a Lease that this write needs."""


class LeaderClient(KubeClient):
    """`may_write` is called before a write is sent, with the namespace. Writes raise NotLeader."""

    may_write: Callable[[str], bool] = staticmethod(lambda _: True)

    def _check(self, method: str, kind: Kind, path: str) -> None:
        if method == "GET":
            return
        namespace = kind.namespace_of(path)
        if not self.may_write(namespace):
            raise NotLeader(f"{kind.kind} in {namespace}: another operator holds the Lease")
