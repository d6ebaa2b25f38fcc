"""The DaemonSet of one profile in one namespace. Pure.

An init container downloads the weights into the folder of the node and converts them, as the
servers of the profile would. A pod is ready once all of them are there. The list of models is an
annotation of the pod, mounted by the downward API, like the `files` of a spec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fleet_contract.names import GROUP
from fleet_contract.spec import ModelSpec
from fleet_operator.kinds import DAEMON_SET
from fleet_operator.names import (
    ANNOTATION_APPLIED,
    ANNOTATION_PROFILE,
    LABEL_PREFETCH,
    MANAGED_BY,
    MODELS_MOUNT,
)
from fleet_operator.resources import estimate, strategic_merge
from fleet_operator.resources.architectures import with_architectures
from fleet_operator.resources.ca_bundle import with_ca_bundle
from fleet_operator.resources.children import owner_reference
from fleet_operator.resources.digests import digest
from fleet_operator.resources.images import Problem, choose_image
from fleet_operator.resources.pod import PLACEMENT, security_context
from fleet_operator.resources.pod_parts import node_cache
from fleet_operator.resources.prefetch.model_list import NO_CATALOG
from fleet_operator.resources.profiles import ModelCache, Profile
from fleet_operator.resources.server_container import OWN_SECURITY, Object, variable
from fleet_operator.resources.tolerations import with_accelerators
from fleet_operator.settings import OperatorSettings

PREFIX = "modelfleet-prefetch-"
FETCH, WAIT = "fetch", "wait"
LIST_ANNOTATION = f"{GROUP}/models"
CATALOG_ANNOTATION = f"{GROUP}/catalog"
FOLDER = "/etc/modelfleet-prefetch"
COMMAND = ["modelfleet", "pull", "--no-evict", "--force", "--file", f"{FOLDER}/models.yaml"]
"""--force: weights for accelerators, which this pod does not request, are fetched as well."""
NOT_PLACEMENT = ("priorityClassName", "runtimeClassName")
SCRATCH = 1 << 30
SMALLEST_LIMIT = 2 << 30
OWNERS = 20
"""Maximum number of owners of one DaemonSet, which is deleted with the last of them, also without
an operator."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def suffix(profile: str) -> str:
    """The profile's name as part of a name; made valid and with a hash of it, if it is not."""
    if _NAME.fullmatch(profile):
        return profile
    readable = re.sub(r"[^a-z0-9]+", "-", profile.lower())[:27].strip("-")
    return f"{readable}-{digest(profile)}".lstrip("-")


def may_manage(raw: Mapping[str, Any]) -> bool:
    """Whether the operator made the DaemonSet: it has its name, label and mark."""
    meta = raw["metadata"]
    annotations = meta.get("annotations") or {}
    label = (meta.get("labels") or {}).get(LABEL_PREFETCH)
    return meta["name"] == f"{PREFIX}{label}" and ANNOTATION_APPLIED in annotations


def daemon_set(
    namespace: str,
    name: str,
    profile: Profile,
    cache: ModelCache,
    text: str,
    secrets: Sequence[Object],
    memory: int,
    owners: Sequence[Mapping[str, Any]],
    settings: OperatorSettings,
) -> Object:
    """The DaemonSet of the profile `name`.

    `text` is the list of models, `secrets` are variables for their downloads, `memory` is what
    their conversion may take, in bytes. `owners` are InferenceModels.
    """
    labels = {LABEL_PREFETCH: suffix(name), **MANAGED_BY}
    references = [{**owner_reference(one), "controller": False} for one in owners[:OWNERS]]
    annotations = {LIST_ANNOTATION: text, CATALOG_ANNOTATION: NO_CATALOG}
    pod = _pod(namespace, profile, cache, secrets, memory, settings)
    made: Object = {
        "apiVersion": DAEMON_SET.api_version,
        "kind": DAEMON_SET.kind,
        "metadata": {
            "name": f"{PREFIX}{suffix(name)}",
            "namespace": namespace,
            "labels": labels,
            "annotations": {ANNOTATION_PROFILE: name},
            "ownerReferences": references,
        },
        "spec": {
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {LABEL_PREFETCH: suffix(name)}},
            # They serve nothing, so all may be replaced at once.
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%"},
            },
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }
    made["metadata"]["annotations"][ANNOTATION_APPLIED] = digest(made)
    return made


def _pod(
    namespace: str,
    profile: Profile,
    cache: ModelCache,
    secrets: Sequence[Object],
    memory: int,
    settings: OperatorSettings,
) -> Object:
    image = _image(profile, settings)
    fetch = {
        "name": FETCH,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        "command": COMMAND,
        "env": [*_environment(profile, cache), *secrets],
        "securityContext": OWN_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(memory, settings.memory_limit_factor),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (a path in the pod)
            {"name": node_cache.VOLUME, "mountPath": MODELS_MOUNT},
            {"name": "list", "mountPath": FOLDER, "readOnly": True},
        ],
    }
    if profile.env_from:
        fetch["envFrom"] = [source.to_wire() for source in profile.env_from]
    wait = {
        "name": WAIT,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["sleep", "infinity"],
        "securityContext": OWN_SECURITY,
        "resources": {
            "requests": {"cpu": "1m", "memory": "8Mi"},
            "limits": {"memory": "32Mi"},
        },
    }
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for path, annotation in (
            ("models.yaml", LIST_ANNOTATION),
            ("catalog.yaml", CATALOG_ANNOTATION),
        )
    ]
    pod: Object = {
        "containers": [fetch],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": estimate.gibibytes(SCRATCH)}},
            node_cache.volume(cache, namespace),
            {"name": "list", "downwardAPI": {"items": items}},
        ],
        "securityContext": security_context(True, settings.user_ids),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        **_placement(profile),
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in settings.pull_secrets]
    pod = with_architectures(pod, () if profile.image else settings.architectures)
    pod = with_ca_bundle(pod, settings.ca_configmap, settings.ca_key, FETCH)
    permissions = node_cache.permissions(image, settings.pull_policy)
    return {**pod, "initContainers": [permissions, *pod["containers"]], "containers": [wait]}


def _image(profile: Profile, settings: OperatorSettings) -> str:
    """The image that most servers of the profile have, so that their nodes have it already."""
    fields = {"device": profile.device} if profile.device is not None else {}
    spec = ModelSpec(
        model="any", resources=profile.resources, devices=profile.devices, image=profile.image,
        **fields,
    )  # fmt: skip
    found = choose_image(spec, settings)
    return settings.image_cpu if isinstance(found, Problem) else found


def _environment(profile: Profile, cache: ModelCache) -> list[Object]:
    values = {
        "HOME": "/tmp",  # noqa: S108  (the root is read-only)
        "MODELS_DIR": MODELS_MOUNT,
        "MODELS_DIR_LIMIT": node_cache.limit(cache),
        "CATALOG": f"{FOLDER}/catalog.yaml",
        **profile.env,
    }
    return [variable(name, values[name]) for name in sorted(values)]


def _resources(memory: int, factor: float) -> Object:
    # Kubernetes reserves the requests as long as the pod exists, also after the download.
    resources: Object = {"requests": {"cpu": "20m", "memory": "64Mi"}}
    if factor:
        limit = estimate.gibibytes(max(SMALLEST_LIMIT, factor * memory))
        resources["limits"] = {"memory": limit}
    return resources


def _placement(profile: Profile) -> Object:
    """On all nodes of the profile, and without power over other pods there."""
    wire = profile.to_wire()
    fields = [field for field in PLACEMENT if field not in NOT_PLACEMENT]
    placed = {field: wire[field] for field in fields if field in wire}
    template = (profile.pod_template or {}).get("spec") or {}
    placed = strategic_merge.merge(
        placed, {field: template[field] for field in fields if field in template}
    )
    requesting = {**placed, "containers": [{"resources": profile.resources.to_wire()}]}
    tolerating = with_accelerators(requesting, [one.device_class for one in profile.devices])
    del tolerating["containers"]
    return tolerating
