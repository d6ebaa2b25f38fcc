"""The child objects of an InferenceModel: Deployment, Service, claims and others.

Each has an owner reference and a digest of what was applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fleet_contract.names import SERVER_PORT
from fleet_contract.pod.resources import DeviceRequest
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import InferencePool
from fleet_operator.kinds import DEVICE_CLAIM_TEMPLATE, INFERENCE_POOL, MODEL
from fleet_operator.names import (
    ANNOTATION_APPLIED,
    ANNOTATION_PROFILE,
    ANNOTATION_RETRY,
    LABEL_TEMPLATE,
    PORT_NAME,
    model_labels,
    selector_labels,
)
from fleet_operator.quantity import thousandths
from fleet_operator.resources.digests import digest
from fleet_operator.resources.pod_parts import inherited
from fleet_operator.resources.pod_parts.devices import claim_spec, template_name
from fleet_operator.resources.profiles import ModelCache
from fleet_operator.resources.server_container import Object
from fleet_operator.resources.views import served_port
from fleet_operator.resources.volumes import cache_claim_name
from fleet_operator.settings import OperatorSettings

REVISIONS = 3
"""Old ReplicaSets that are kept: a rollback needs the template of the last working version."""


class RolloutStrategy(NamedTuple):
    """maxSurge and maxUnavailable of a Deployment, in pods."""

    surge: int
    unavailable: int


def owner_reference(model: Mapping[str, Any]) -> Object:
    """The InferenceModel as controlling owner: deleting it deletes its children."""
    meta = model["metadata"]
    return {
        **MODEL.owner_reference(meta["name"], meta["uid"]),
        "controller": True,
        # True would require the right to update finalizers of InferenceModels.
        "blockOwnerDeletion": False,
    }


def deployment(
    model: Mapping[str, Any],
    template: Object,
    replicas: int,
    strategy: RolloutStrategy,
    settings: OperatorSettings,
    profile: str = "",
    retry: str | None = None,
) -> Object:
    """The Deployment of pods with `template`, made with the profile of that name; a changed `retry`
    makes its controllers try again."""
    name = model["metadata"]["name"]
    version = template["metadata"]["labels"][LABEL_TEMPLATE]
    spec = {
        "replicas": replicas,
        "revisionHistoryLimit": REVISIONS,
        "progressDeadlineSeconds": settings.start_seconds,
        # Also for a hand-over: Recreate would stop all servers at once.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {
                "maxSurge": strategy.surge,
                "maxUnavailable": strategy.unavailable,
            },
        },
        "selector": {"matchLabels": selector_labels(name)},
        "template": template,
    }
    labels = {**inherited.pod_labels(model["metadata"], settings), LABEL_TEMPLATE: version}
    annotations = {}
    if profile:
        annotations[ANNOTATION_PROFILE] = profile
    if retry is not None:
        annotations[ANNOTATION_RETRY] = retry
    return _child(model, "apps/v1", "Deployment", name, spec, labels, annotations)


def service(model: Mapping[str, Any]) -> Object:
    """The Service; routers find the servers through its EndpointSlices."""
    name = model["metadata"]["name"]
    port = {
        "name": PORT_NAME,
        "port": SERVER_PORT,
        "targetPort": PORT_NAME,
        "protocol": "TCP",
        "appProtocol": "http",
    }
    spec = {"type": "ClusterIP", "selector": selector_labels(name), "ports": [port]}
    return _child(model, "v1", "Service", name, spec)


def budget(model: Mapping[str, Any]) -> Object:
    """The PodDisruptionBudget: draining nodes stops one server at a time. Servers that do not work
    may always be evicted, or one that never becomes ready would keep its node from being drained.
    """
    name = model["metadata"]["name"]
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector_labels(name)},
    }
    return _child(model, "policy/v1", "PodDisruptionBudget", name, spec)


def cache_claim(
    model: Mapping[str, Any], cache: ModelCache | None, found: Mapping[str, Any] | None
) -> Object | None:
    """The claim of the model's own cache; None if it has none.

    Only the size of an existing claim can change, and it can only grow.
    """
    if cache is None or not cache.makes_claim or cache.size is None:
        return None
    name, size = cache_claim_name(model["metadata"]["name"]), cache.size
    spec: Object = {"accessModes": [cache.access_mode]}
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    if found is not None:
        old = found["spec"]
        spec = {"accessModes": old["accessModes"]}
        if "storageClassName" in old:
            spec["storageClassName"] = old["storageClassName"]
        old_size = old["resources"]["requests"]["storage"]
        size = max(size, old_size, key=thousandths)
    spec["resources"] = {"requests": {"storage": size}}
    return _child(model, "v1", "PersistentVolumeClaim", name, spec)


def claim_template(model: Mapping[str, Any], requests: Sequence[DeviceRequest]) -> Object | None:
    """The ResourceClaimTemplate of the servers' devices; None if they request none."""
    if not requests:
        return None
    name = template_name(model["metadata"]["name"], requests)
    api_version, kind = DEVICE_CLAIM_TEMPLATE.api_version, DEVICE_CLAIM_TEMPLATE.kind
    return _child(model, api_version, kind, name, claim_spec(requests))


def inference_pool(
    model: Mapping[str, Any], pool: InferencePool | None, template: Object
) -> Object | None:
    """The InferencePool of the pods made with `template`; None if the spec has none."""
    if pool is None:
        return None
    name, picker = model["metadata"]["name"], pool.endpoint_picker_ref
    spec = {
        "selector": {"matchLabels": selector_labels(name)},
        "targetPorts": [{"number": _server_port(template)}],
        "endpointPickerRef": {
            "name": picker.name,
            "port": {"number": picker.port},
            "failureMode": picker.failure_mode.value,
        },
    }
    return _child(model, INFERENCE_POOL.api_version, INFERENCE_POOL.kind, name, spec)


def address(model: Mapping[str, Any], spec: ModelSpec) -> str:
    """Base URL of the model inside the cluster."""
    if spec.remote is not None:
        return spec.remote.address
    meta = model["metadata"]
    return f"http://{meta['name']}.{meta['namespace']}.svc:{SERVER_PORT}"


def _server_port(template: Object) -> int:
    ports = map(served_port, template["spec"]["containers"])
    return next(filter(None, ports), SERVER_PORT)


def _child(
    model: Mapping[str, Any],
    api_version: str,
    kind: str,
    name: str,
    spec: Object,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    meta = model["metadata"]
    child: Object = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**(labels or {}), **model_labels(meta["name"])},
            "ownerReferences": [owner_reference(model)],
        },
        "spec": spec,
    }
    if annotations:
        child["metadata"]["annotations"] = dict(annotations)
    # Over everything but the digest itself.
    applied = {ANNOTATION_APPLIED: digest(child)}
    child["metadata"]["annotations"] = {**(annotations or {}), **applied}
    return child
