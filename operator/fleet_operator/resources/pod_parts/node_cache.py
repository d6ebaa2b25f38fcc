"""A cache of weights in a folder of the node, shared by the models of a namespace.

Pods of other namespaces have no access, since their servers may run code of their own. The servers
delete what was least recently used (`fleet_weights.eviction`).
"""

from __future__ import annotations

from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_operator.names import MODELS_MOUNT, USER
from fleet_operator.quantity import thousandths
from fleet_operator.resources.profiles import ModelCache

VOLUME = "models"
DEFAULT_LIMIT = "80%"
RESOURCES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}


def on_node(spec: ModelSpec, cache: ModelCache | None) -> ModelCache | None:
    """`cache` if it is on the node and the server can use it: images of other projects neither
    share a folder with others nor delete from it."""
    return cache if cache is not None and cache.node and not spec.is_foreign else None


def volume(cache: ModelCache, namespace: str) -> dict[str, Any]:
    """The volume of the folder, which the kubelet creates."""
    path = f"{cache.path}/{namespace}"
    return {"name": VOLUME, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}


def limit(cache: ModelCache) -> str:
    """The value of MODELS_DIR_LIMIT."""
    return DEFAULT_LIMIT if cache.size is None else str(thousandths(cache.size) // 1000)


def permissions(image: str, pull_policy: str) -> dict[str, Any]:
    """An init container that makes the servers' user the owner of the folder.

    The kubelet creates the folder of a hostPath as root, and fsGroup does not apply to it.
    """
    return {
        "name": "cache-permissions",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["chown", f"{USER}:{USER}", MODELS_MOUNT],
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        },
        "volumeMounts": [{"name": VOLUME, "mountPath": MODELS_MOUNT}],
        "resources": RESOURCES,
    }
