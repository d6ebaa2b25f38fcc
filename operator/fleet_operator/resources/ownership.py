"""Which objects are children of an InferenceModel: by name, controlling owner and mark. Pure.

Labels do not prove it, because `kubectl expose`, clones and restored backups copy them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_contract.names import API_VERSION, KIND, LABEL_MODEL
from fleet_operator.kinds import DEVICE_CLAIM_TEMPLATE, INFERENCE_POOL
from fleet_operator.names import ANNOTATION_APPLIED
from fleet_operator.resources.pod_parts.devices import model_of_template
from fleet_operator.resources.volumes import cache_claim_name, model_of_claim

CLAIM = "PersistentVolumeClaim"
NAMED_LIKE_THE_MODEL = ("Deployment", "Service", "PodDisruptionBudget", INFERENCE_POOL.kind)
DELETED = (*NAMED_LIKE_THE_MODEL, DEVICE_CLAIM_TEMPLATE.kind)
"""Kinds of children that the operator deletes: a PersistentVolumeClaim is deleted by the garbage
collector, with its InferenceModel."""


def child_names(model: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of every child that the InferenceModel `model` may have, without
    ResourceClaimTemplates: their names are made from their content and are never taken."""
    return (*((kind, model) for kind in NAMED_LIKE_THE_MODEL), (CLAIM, cache_claim_name(model)))


def model_of(kind: str, name: str) -> str | None:
    """Name of the InferenceModel that may have a child of this kind and name; None if none may."""
    if kind == CLAIM:
        return model_of_claim(name)
    return model_of_template(name) if kind == DEVICE_CLAIM_TEMPLATE.kind else name


def refers_to_its_model(kind: str, raw: Mapping[str, Any]) -> bool:
    """Whether the label or the controller of an object is the InferenceModel of its name."""
    meta = raw["metadata"]
    model = model_of(kind, meta["name"])
    if model is None:
        return False
    if (meta.get("labels") or {}).get(LABEL_MODEL) == model:
        return True
    owner = controller(raw)
    return (
        owner is not None
        and owner.get("apiVersion") == API_VERSION
        and (owner.get("kind"), owner.get("name")) == (KIND, model)
    )


def is_controlled_by(raw: Mapping[str, Any], uid: str) -> bool:
    """Whether the object's controller has this uid."""
    owner = controller(raw)
    return owner is not None and owner.get("uid") == uid


def may_adopt(raw: Mapping[str, Any]) -> bool:
    """Whether an object that has name and label of a child may become one: it has no controller,
    like those that `kubectl delete --cascade=orphan` leaves."""
    return controller(raw) is None


def may_delete(kind: str, raw: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether the operator made the object for this InferenceModel, not for an earlier one of the
    same name, and it holds no data."""
    meta = raw["metadata"]
    return (
        kind in DELETED
        and model_of(kind, meta["name"]) == model["metadata"]["name"]
        and ANNOTATION_APPLIED in (meta.get("annotations") or {})
        and is_controlled_by(raw, model["metadata"]["uid"])
    )


def controller(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The controlling owner reference; an object has at most one."""
    owners = raw["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)
