"""Names of the operator's own: field manager, labels, annotations, mounts, reasons' home.

Names it shares with other parts are in fleet_contract.names.
"""

from __future__ import annotations

from fleet_contract.names import GROUP, LABEL_MODEL

FIELD_MANAGER = "modelfleet-operator"
"""Owner, in managedFields, of what the operator sets on children and status."""
ANNOTATION_APPLIED = f"{GROUP}/applied"
"""On every child: digest of what was last applied, so that a dropped field is noticed."""
LABEL_TEMPLATE = f"{GROUP}/template"
"""On pods and on their Deployment: digest of the pod template, the version of a model."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "modelfleet"}

SERVER_CONTAINER = "server"
PORT_NAME = "http"
MODELS_MOUNT = "/models"
USER = 65532
"""Numeric user and group of the server's container; any id serves, the images hold no files of
their own that it must own."""


def model_labels(name: str) -> dict[str, str]:
    """Labels of every child of the InferenceModel `name`."""
    return {LABEL_MODEL: name, **MANAGED_BY}


def selector_labels(name: str) -> dict[str, str]:
    """Labels that select the pods of the InferenceModel `name`."""
    return {LABEL_MODEL: name}
