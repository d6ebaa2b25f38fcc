"""A kind of Kubernetes object and its paths in the API."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """API version, kind and plural name, as in the API's discovery documents."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "") -> str:
        """Path of a collection, or of one object; without a namespace, of all namespaces."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else "/api/v1"
        middle = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")

    def owner_reference(self, name: str, uid: str) -> dict[str, str]:
        """The object of this kind as an owner: the garbage collector deletes what it owns."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": name, "uid": uid}

    def namespace_of(self, path: str) -> str:
        """The namespace of a path of this kind; "" if it has none."""
        parts = path.split("/")
        named = self.namespaced and "namespaces" in parts
        return parts[parts.index("namespaces") + 1] if named else ""
