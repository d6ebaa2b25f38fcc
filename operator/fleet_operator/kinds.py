"""The kinds the operator reads and writes."""

from __future__ import annotations

from fleet_contract.names import API_VERSION, KIND, PLURAL
from fleet_kube.kind import Kind

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
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

CHILDREN = (DEPLOYMENT, SERVICE, BUDGET, CLAIM)
BY_NAME = {kind.kind: kind for kind in (*CHILDREN, MODEL, POD)}
