"""Children and taken names in the cache."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.controller.child_cache import ChildCache
from fleet_operator.decide.observed import Ref

KEY = ("ns", "m")
LABEL = "modelfleet.dev/inferencemodel"


def owned_by(uid: str, kind: str = "InferenceModel") -> list[dict[str, Any]]:
    return [{"apiVersion": "modelfleet.dev/v1alpha1", "kind": kind, "name": "m", "uid": uid,
             "controller": True}]  # fmt: skip


def item(name: str = "m", version: str = "3", label: str = "m", **meta: Any) -> dict[str, Any]:
    labels = {LABEL: label} if label else {}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "labels": labels,
                         "resourceVersion": version, **meta}}  # fmt: skip


@pytest.fixture
def cache() -> ChildCache:
    return ChildCache()


OWN = frozenset({Ref("Service", "m")})


@pytest.mark.parametrize(
    ("raw", "children", "taken"),
    [
        (item(ownerReferences=owned_by("uid-m")), OWN, set()),
        (item(label="", ownerReferences=owned_by("uid-m")), OWN, set()),
        (item(), OWN, set()),  # left behind by `--cascade=orphan`: adopted
        (item(label=""), set(), OWN),
        (item(label="other"), set(), OWN),
        (item(ownerReferences=owned_by("uid-before")), set(), OWN),
        (item(ownerReferences=owned_by("uid-x", "Gateway")), set(), OWN),
        (item("public", ownerReferences=owned_by("uid-m")), set(), set()),
        (item("public"), set(), set()),
    ],
)
def test_children_and_taken_names(
    cache: ChildCache, raw: dict[str, Any], children: set[Ref], taken: set[Ref]
) -> None:
    cache.put("Service", raw)
    found, others = cache.of(KEY, "uid-m")
    assert (set(found), set(others)) == (children, taken)


def test_a_service_with_copied_labels_is_a_name_of_another_model(cache: ChildCache) -> None:
    assert cache.put("Service", item("public")) is None
    assert cache.of(("ns", "public"), "uid-public") == ({}, {Ref("Service", "public")})
    assert cache.drop("Service", item("public")) == ("ns", "public")
    assert cache.of(("ns", "public"), "uid-public") == ({}, frozenset())


def test_a_claim_affects_the_model_of_its_name(cache: ChildCache) -> None:
    claim = "PersistentVolumeClaim"
    assert cache.put(claim, item("m-cache")) == KEY
    assert set(cache.of(KEY, "uid-m")[0]) == {Ref(claim, "m-cache")}
    assert cache.drop(claim, item("m-cache")) == KEY
    assert cache.put(claim, item("m-cache", label="")) is None
    assert cache.of(KEY, "uid-m") == ({}, {Ref(claim, "m-cache")})
    assert cache.drop(claim, item("m-cache", label="")) == KEY
    assert cache.put(claim, item("m")) is None
    assert cache.of(KEY, "uid-m") == ({}, frozenset())


def test_an_object_may_become_a_child_and_cease_to_be_one(cache: ChildCache) -> None:
    assert cache.put("Service", item(label="")) is None
    assert cache.put("Service", item(version="4")) == KEY
    assert cache.put("Service", item(version="4")) is None
    assert cache.of(KEY, "uid-m")[1] == frozenset()
    assert cache.put("Service", item(version="5", label="")) == KEY
    assert cache.of(KEY, "uid-m") == ({}, OWN)


def test_a_late_delete_event_does_not_remove_the_successor(cache: ChildCache) -> None:
    for label in ("m", ""):
        cache.put("Service", item(label=label, uid="new"))
        assert cache.drop("Service", item(label=label, uid="old")) is None
        assert cache.uids("Service") == {"new"}


def test_versions_are_those_of_objects_with_a_label(cache: ChildCache) -> None:
    """They are compared with a list by label."""
    cache.put("Service", item())
    cache.put("Service", item("public"))
    cache.put("Service", item("unrelated", label=""))
    cache.put("Service", item("stripped", label="", ownerReferences=owned_by("u")))
    assert cache.versions("Service") == {"uid-m": "3", "uid-public": "3"}
    assert cache.versions("Deployment") == {}
    assert len(cache.uids("Service")) == 4


@pytest.mark.parametrize("name", ["m", "public"])
def test_by_uid_returns_what_drop_needs(cache: ChildCache, name: str) -> None:
    cache.put("Service", item(name))
    found = cache.by_uid("Service", f"uid-{name}")
    assert found is not None
    assert cache.by_uid("Deployment", f"uid-{name}") is None
    assert cache.drop("Service", found) == ("ns", name)
    assert cache.uids("Service") == set()


def test_a_version_in_which_nothing_is_decided_anew_affects_no_model(cache: ChildCache) -> None:
    made = {**item(), "spec": {"replicas": 1}}
    counted = {**item(version="4"), "spec": {"replicas": 1},
               "status": {"replicas": 1, "updatedReplicas": 1}}  # fmt: skip
    failed = {"conditions": [{"type": "ReplicaFailure", "status": "True"}]}
    assert cache.put("Deployment", made) == KEY
    assert cache.put("Deployment", counted) is None
    assert cache.versions("Deployment") == {"uid-m": "4"}
    assert cache.put("Deployment", {**counted, **item(version="5"), "status": failed}) == KEY
    assert cache.put("Deployment", {**item(version="6"), "status": failed}) == KEY
    assert cache.put("Deployment", {**item(version="7", label="m", x="y"), "status": failed}) == KEY
    assert cache.put("InferencePool", item()) == KEY  # of other kinds, all of the status counts
    assert cache.put("InferencePool", {**item(version="8"), "status": {"parents": []}}) == KEY
    assert cache.put("InferencePool", {**item(version="9"), "status": {"parents": []}}) is None
