"""The kinds the operator reads and writes."""

from __future__ import annotations

from fleet_contract.names import API_VERSION, KIND, PLURAL
from fleet_kube.kind import Kind
from fleet_operator.features import Features

MODEL = Kind(API_VERSION, KIND, PLURAL)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
DAEMON_SET = Kind("apps/v1", "DaemonSet", "daemonsets")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
SERVICE = Kind("v1", "Service", "services")
BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
DEVICE_CLAIM_TEMPLATE = Kind(
    "resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates"
)
INFERENCE_POOL = Kind("inference.networking.k8s.io/v1", "InferencePool", "inferencepools")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
EVENT = Kind("v1", "Event", "events")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

CHILDREN = (DEPLOYMENT, SERVICE, BUDGET, CLAIM)
BY_NAME = {
    kind.kind: kind for kind in (*CHILDREN, DEVICE_CLAIM_TEMPLATE, INFERENCE_POOL, MODEL, POD)
}


def optional_kinds(features: Features) -> tuple[tuple[Kind, bool], ...]:
    """The kinds that not every cluster has, each with whether one with these features has it."""
    return (
        (DEVICE_CLAIM_TEMPLATE, features.device_claims),
        (INFERENCE_POOL, features.inference_pools),
    )


def children(features: Features) -> tuple[Kind, ...]:
    """The kinds of a model's children in a cluster with these features."""
    return (*CHILDREN, *(kind for kind, served in optional_kinds(features) if served))


def cached_kinds(features: Features, sees_nodes: bool) -> tuple[Kind, ...]:
    """The kinds of all objects that the operator keeps in its cache."""
    return (MODEL, *children(features), POD, *((NODE,) if sees_nodes else ()))
