"""Names used by the operator only: field manager, labels, annotations, ports, mounts.

Names shared with other processes are in fleet_contract.names.
"""

from __future__ import annotations

from fleet_contract.names import GROUP, LABEL_MODEL

FIELD_MANAGER = "modelfleet-operator"
"""Field manager of what the operator applies."""
RELEASE_MANAGER = "modelfleet-release"
"""Field manager of the InferenceModels that it creates from the values of the release."""
ANNOTATION_APPLIED = f"{GROUP}/applied"
"""On every child: digest of what was last applied, to detect removed fields."""
ANNOTATION_PROFILE = f"{GROUP}/profile"
"""On Deployments: name of the profile that their pods are made with."""
ANNOTATION_RETRY = f"{GROUP}/retried-at"
"""On a Deployment whose pods a quota refused; copied to its ReplicaSet, which then tries again."""
ANNOTATION_RELEASE_MODEL = f"{GROUP}/release-model"
"""On an InferenceModel that was created from the values of the release: its own name, so that a
copy of it under another name does not have the mark."""
LABEL_TEMPLATE = f"{GROUP}/template"
"""On pods and on their Deployment: digest of the pod template, the version of a model."""
ANNOTATION_PAUSED = f"{GROUP}/paused"
"""On an InferenceModel: the operator does not change its objects."""
ANNOTATION_RESTARTED = f"{GROUP}/restarted-at"
"""On an InferenceModel and, copied from it, on its pods: a new value replaces the servers."""
LABEL_PREFETCH = f"{GROUP}/prefetch"
"""On the DaemonSets that fill node caches and on their pods: the profile's name, or a hash."""
LABEL_SHARD = f"{GROUP}/shard"
"""On a Namespace: index of the shard of the operator that serves it."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "modelfleet"}

SERVER_CONTAINER = "server"
SERVER_COMMAND = ["modelfleet", "server"]
"""Command of the server's container, except for engines of other projects."""
PORT_NAME = "http"
MODELS_MOUNT = "/models"
USER = 65532
"""Numeric user and group of the server's container; any id works, no file in the images must
belong to it."""


def model_labels(name: str) -> dict[str, str]:
    """Labels of every child of the InferenceModel `name`."""
    return {LABEL_MODEL: name, **MANAGED_BY}


def selector_labels(name: str) -> dict[str, str]:
    """Labels that select the pods of the InferenceModel `name`."""
    return {LABEL_MODEL: name}
