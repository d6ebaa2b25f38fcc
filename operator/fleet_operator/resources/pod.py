"""The pod template of a resolved spec; its digest is the version of the model. Pure."""

from __future__ import annotations

from fleet_contract.completion import CATALOG
from fleet_contract.spec import ModelSpec
from fleet_contract.status import INVALID_SPEC
from fleet_operator.features import Features
from fleet_operator.names import (
    ANNOTATION_RESTARTED,
    LABEL_TEMPLATE,
    USER,
    model_labels,
    selector_labels,
)
from fleet_operator.resources import estimate, strategic_merge
from fleet_operator.resources.architectures import with_architectures
from fleet_operator.resources.ca_bundle import with_ca_bundle
from fleet_operator.resources.digests import digest
from fleet_operator.resources.images import Problem, as_served, choose_image
from fleet_operator.resources.memory_limit import with_memory_limit
from fleet_operator.resources.pod_parts import inherited, node_cache
from fleet_operator.resources.pod_parts.devices import with_devices
from fleet_operator.resources.pod_parts.disk_request import with_disk_request
from fleet_operator.resources.pod_parts.fetch_secrets import fetch_secrets
from fleet_operator.resources.resolve import Resolution
from fleet_operator.resources.server_container import (
    ENDPOINT_SECONDS,
    Object,
    drain_seconds,
    server_container,
)
from fleet_operator.resources.tolerations import with_accelerators
from fleet_operator.resources.views import Raw
from fleet_operator.resources.volumes import storage
from fleet_operator.settings import OperatorSettings

DISK = "resources.requests.ephemeral-storage"
MEMORY_LIMIT = "resources.limits.memory"
PLACEMENT = (
    "nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName",
    "schedulerName",
)  # fmt: skip
"""Fields of the spec that are fields of the PodSpec."""
NO_METADATA: Raw = {}
NO_FEATURES = Features()
NO_DEVICE_CLAIMS = (
    "devices need ResourceClaimTemplates of resource.k8s.io/v1 (Kubernetes 1.34): the cluster does "
    "not serve them, or the operator may not manage them."
)
EXIT_SECONDS = 15
"""Time for a server to exit after its last request."""


def pod_template(
    name: str,
    found: Resolution,
    settings: OperatorSettings,
    *,
    meta: Raw = NO_METADATA,
    features: Features = NO_FEATURES,
) -> Object | Problem:
    """The template of the InferenceModel `name`'s pods, with its digest as a label.

    `meta` is the metadata of the resource.
    """
    spec, profile = found.spec, found.profile
    if spec is None:
        return Problem(INVALID_SPEC, found.problem or "the spec is not valid")
    if found.obstacle is not None:
        return found.obstacle
    image = choose_image(spec, settings)
    if isinstance(image, Problem):
        return image
    if spec.devices and not features.device_claims:
        return Problem("DevicesUnavailable", NO_DEVICE_CLAIMS)
    disks = storage(
        name, spec, profile.model_cache, meta.get("namespace", ""), features, settings.pull_policy
    )
    if isinstance(disks, Problem):
        return disks
    if disks.outlives_pod and found.origins.get(DISK) == CATALOG:
        # Weights are stored elsewhere.
        spec = _without_resource(spec, DISK)
    on_vllm = image == settings.vllm_images.own
    if on_vllm and found.origins.get(MEMORY_LIMIT) == CATALOG:
        # It is too small for vLLM's processes.
        spec = _without_resource(spec, MEMORY_LIMIT)
    secrets = fetch_secrets(found, settings, disks.downloads_image).variables
    pod: Object = {
        "containers": [server_container(spec, image, disks, secrets, settings)],
        "volumes": list(disks.volumes),
        "securityContext": security_context(not spec.is_foreign, settings.user_ids),
        # Servers do not use the Kubernetes API.
        "automountServiceAccountToken": False,
        # The kubelet would add variables for every Service of the namespace.
        "enableServiceLinks": False,
        # preStop, drain and exit follow each other.
        "terminationGracePeriodSeconds": ENDPOINT_SECONDS
        + drain_seconds(spec, settings)
        + EXIT_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                # Two servers on one node are better than one.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector_labels(name)},
            }
        ],
        **_placement(spec.to_wire()),
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if disks.node_cache is not None:
        pod["initContainers"] = [node_cache.permissions(image, settings.pull_policy)]
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in settings.pull_secrets]
    metadata: Object = {"labels": {**inherited.pod_labels(meta, settings), **model_labels(name)}}
    annotations = {**inherited.pod_annotations(meta, settings), **disks.annotations}
    restarted_at = (meta.get("annotations") or {}).get(ANNOTATION_RESTARTED)
    if restarted_at:
        annotations[ANNOTATION_RESTARTED] = restarted_at
    if annotations:
        metadata["annotations"] = annotations
    template = {"metadata": metadata, "spec": with_devices(pod, name, spec.devices)}
    if spec.pod_template is not None:
        try:
            template = strategic_merge.merge(template, spec.pod_template)
        except strategic_merge.PatchError as error:
            return Problem(INVALID_SPEC, str(error))
    served = as_served(spec)
    # After podTemplate, since limit, affinity and tolerations depend on what it sets.
    try:
        stored = with_disk_request(template["spec"], served)
        needed = estimate.memory(served, vllm=on_vllm)
        limited = with_memory_limit(stored, needed, settings.memory_limit_factor)
        classes = [one.device_class for one in spec.devices]
        placed = with_architectures(limited, _architectures(spec, settings))
        trusting = with_ca_bundle(placed, settings.ca_configmap, settings.ca_key)
        template = {**template, "spec": with_accelerators(trusting, classes)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Problem(INVALID_SPEC, f"podTemplate does not result in a valid PodSpec: {error}")
    return _labelled(name, template)


def _without_resource(spec: ModelSpec, path: str) -> ModelSpec:
    """Without one of the resources, such as `resources.limits.memory`."""
    _, kind, name = path.split(".")
    kept = dict(getattr(spec.resources, kind))
    kept.pop(name, None)
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={kind: kept})})


def _labelled(name: str, template: Object) -> Object:
    metadata = template.get("metadata") or {}
    version = digest(template)
    # Ours take precedence: the Deployment could not select pods with other labels.
    labels = {**(metadata.get("labels") or {}), **model_labels(name), LABEL_TEMPLATE: version}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _placement(wire: Object) -> Object:
    return {field: wire[field] for field in PLACEMENT if field in wire}


def _architectures(spec: ModelSpec, settings: OperatorSettings) -> tuple[str, ...]:
    """Those of the operator's own images; another image may be built for others."""
    is_own = not spec.is_foreign and not spec.image
    return settings.architectures if is_own else ()


def security_context(own: bool, with_ids: bool) -> Object:
    """Of a pod of our own images, or of another one."""
    profile: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not own:  # images of other projects choose their own user
        return profile
    ids = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "runAsNonRoot": True,
        **(ids if with_ids else {}),
        # With the default the kubelet would change the owner of all weights at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        **profile,
    }
