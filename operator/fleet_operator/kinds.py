"""The Kubernetes kinds the operator reads and writes, with their API paths."""

from __future__ import annotations

from typing import NamedTuple

from fleet_contract.names import API_VERSION, KIND, PLURAL


class Kind(NamedTuple):
    """One kind of object."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "") -> str:
        """API path of a collection, or of one object."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else "/api/v1"
        middle = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")


MODEL = Kind(API_VERSION, KIND, PLURAL)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
SERVICE = Kind("v1", "Service", "services")
BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
EVENT = Kind("v1", "Event", "events")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")

CHILDREN = (DEPLOYMENT, SERVICE, BUDGET, CLAIM)
BY_NAME = {kind.kind: kind for kind in (*CHILDREN, MODEL, POD)}
