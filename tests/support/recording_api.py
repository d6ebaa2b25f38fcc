"""A fake Kubernetes API that records the operator's calls."""

from __future__ import annotations

from typing import Any

from fleet_kube.errors import ApiError


class Recorder:
    """Responds as the API server would; `refuse` maps a kind to an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refuse: dict[str, ApiError] = {}
        self.version = 10

    async def apply(self, kind: Any, wanted: dict[str, Any], force: bool) -> dict[str, Any]:
        self.asked.append(("apply", kind.kind, force))
        if kind.kind in self.refuse:
            raise self.refuse[kind.kind]
        self.version += 1
        meta = {**wanted["metadata"], "uid": kind.kind, "resourceVersion": str(self.version)}
        return {**wanted, "metadata": meta}

    async def delete(self, kind: Any, namespace: str, name: str, uid: str) -> None:
        self.asked.append(("delete", kind.kind, namespace, name, uid))
        if kind.kind in self.refuse:
            raise self.refuse[kind.kind]

    async def patch_status(self, kind: Any, namespace: str, name: str, body: Any) -> dict[str, Any]:
        self.asked.append(("status", body))
        if "status" in self.refuse:
            raise self.refuse["status"]
        return {"metadata": {}, "status": body["status"]}

    async def create(self, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(("create", kind.kind, body["reason"]))
        if kind.kind in self.refuse:
            raise self.refuse[kind.kind]
        return body
