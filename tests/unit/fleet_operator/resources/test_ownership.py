"""Which objects belong to an InferenceModel, and which of them may be deleted."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.resources import children, ownership
from fleet_operator.resources.profiles import ModelCache
from support.operator_objects import model

LABELS = {"modelfleet.dev/inferencemodel": "m"}
BUDGET = children.budget(model())
CLAIM = children.cache_claim(model(), ModelCache(size="1Gi"), None) or {}
SET_OF_ANOTHER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "m", "uid": "u",
                  "controller": True}  # fmt: skip


def changed(raw: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], **meta}}


def bare(name: str, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", **meta}}


def test_names_of_children_and_of_their_model() -> None:
    assert ownership.child_names("m") == (
        ("Deployment", "m"),
        ("Service", "m"),
        ("PodDisruptionBudget", "m"),
        ("InferencePool", "m"),
        ("PersistentVolumeClaim", "m-cache"),
    )
    assert {ownership.model_of(*one) for one in ownership.child_names("m")} == {"m"}
    assert ownership.model_of("PersistentVolumeClaim", "m") is None


@pytest.mark.parametrize(
    ("kind", "raw", "refers"),
    [
        ("Service", bare("m", labels=LABELS), True),
        ("Service", BUDGET, True),
        ("Service", changed(BUDGET, labels={}), True),
        ("Service", bare("public", labels=LABELS), False),
        ("Service", changed(BUDGET, name="public"), False),
        ("Service", bare("m", ownerReferences=[SET_OF_ANOTHER]), False),
        ("Service", bare("m"), False),
        ("PersistentVolumeClaim", bare("m-cache", labels=LABELS), True),
        ("PersistentVolumeClaim", bare("m", labels=LABELS), False),
        ("PersistentVolumeClaim", bare("copy-of-m-cache", labels=LABELS), False),
        ("ResourceClaimTemplate", bare("m-devices-0123456789ab", labels=LABELS), True),
        ("ResourceClaimTemplate", bare("m", labels=LABELS), False),
    ],
)
def test_copied_labels_make_no_child(kind: str, raw: dict[str, Any], refers: bool) -> None:
    assert ownership.refers_to_its_model(kind, raw) is refers


@pytest.mark.parametrize(
    ("meta", "allowed"),
    [
        ({}, True),
        ({"labels": {}}, True),
        ({"name": "public"}, False),
        ({"annotations": {}}, False),
        ({"ownerReferences": []}, False),
        ({"ownerReferences": [SET_OF_ANOTHER]}, False),
        ({"ownerReferences": [{**SET_OF_ANOTHER, "controller": False}]}, False),
    ],
)
def test_only_what_the_operator_made_for_this_model_may_be_deleted(
    meta: dict[str, Any], allowed: bool
) -> None:
    raw = changed(BUDGET, **meta)
    assert ownership.may_delete("PodDisruptionBudget", raw, model()) is allowed


def test_children_of_an_earlier_resource_of_that_name_are_not_deleted() -> None:
    assert not ownership.may_delete("Service", children.service(model()), model(uid="new"))


def test_a_claim_is_never_deleted() -> None:
    assert ownership.is_controlled_by(CLAIM, "uid-m")
    assert not ownership.may_delete("PersistentVolumeClaim", CLAIM, model())
