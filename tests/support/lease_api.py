"""Leases of a fake API server, with optimistic concurrency, for several clients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fleet_kube.errors import ApiError, KubeError
from fleet_kube.kind import Kind

Json = dict[str, Any]


class LeaseApi:
    """`objects` by namespace and name; `error` is raised by every request, if set. `latency` has
    what is called during the requests for a Lease, by its name. While `undeletable`, a policy
    refuses to delete any."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.error: KubeError | None = None
        self.forbidden: set[str] = set()
        self.undeletable = False
        self.latency: dict[str, Callable[[], None]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self._version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self._begin("get", namespace, name)
        return copy.deepcopy(self.objects.get((namespace, name)))

    async def create(self, kind: Kind, manifest: Json) -> Json:
        meta = manifest["metadata"]
        key = meta["namespace"], meta["name"]
        self._begin("create", *key)
        if key in self.objects:
            raise ApiError(409, "AlreadyExists", "exists")
        return self._store(key, {**manifest, "metadata": {**meta, "uid": f"uid-{self._version}"}})

    async def merge_patch(self, kind: Kind, namespace: str, name: str, body: Json) -> Json:
        self._begin("patch", namespace, name)
        found = self.objects.get((namespace, name))
        if found is None:
            raise ApiError(404, "NotFound", "gone")
        meta = dict(body.get("metadata") or {})
        if meta.pop("resourceVersion", None) not in (None, found["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "changed")
        notes = {**(found["metadata"].get("annotations") or {}), **meta.get("annotations", {})}
        merged = {
            **found,
            "metadata": {**found["metadata"], **meta, "annotations": notes},
            "spec": {**found["spec"], **(body.get("spec") or {})},
        }
        return self._store((namespace, name), merged)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, version: str) -> bool:
        self._begin("delete", namespace, name)
        if self.undeletable:
            raise ApiError(422, "Invalid", "a policy")
        found = self.objects.get((namespace, name))
        if found is not None:
            meta = found["metadata"]
            if (meta["uid"], meta["resourceVersion"]) != (uid, version):
                return False
            del self.objects[namespace, name]
        return True

    def touch(self, namespace: str, name: str) -> None:
        """Change the version of a Lease."""
        self._store((namespace, name), self.objects[namespace, name])

    def holder(self, namespace: str, name: str) -> str | None:
        """Who holds a Lease; None if it does not exist."""
        found = self.objects.get((namespace, name))
        return None if found is None else str(found["spec"]["holderIdentity"])

    def owners(self, namespace: str, name: str) -> list[Json] | None:
        """The owner references of a Lease."""
        found: list[Json] | None = self.objects[namespace, name]["metadata"].get("ownerReferences")
        return found

    def _begin(self, verb: str, namespace: str, name: str) -> None:
        self.calls.append((verb, namespace, name))
        if name in self.latency:
            self.latency[name]()
        if self.error is not None:
            raise self.error
        if namespace in self.forbidden:
            raise ApiError(403, "Forbidden", "no")

    def _store(self, key: tuple[str, str], item: Json) -> Json:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = item
        return copy.deepcopy(item)


class Clock:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
