"""Which InferenceModels of the release are applied and deleted."""

from __future__ import annotations

from typing import Any

from fleet_operator.decide.release_models import Plan, plan
from fleet_operator.resources.release_models import Key, ReleaseModels, marked
from support.operator_objects import model

LABELS = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/instance": "fleet"}
OWNERS = {"ns": "uid-role"}


def manifest(name: str = "m", **spec: Any) -> dict[str, Any]:
    made = model(name, **spec)
    made["metadata"] = {"name": name, "namespace": "ns", "labels": dict(LABELS)}
    return made


def wanted(*manifests: dict[str, Any], problems: tuple[str, ...] = ()) -> ReleaseModels:
    named: dict[Key, Any] = {("ns", one["metadata"]["name"]): one for one in manifests}
    return ReleaseModels(named, dict.fromkeys(problems, "not a manifest"))


def observed(*models: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    return {("ns", one["metadata"]["name"]): one for one in models}


def test_a_missing_model_is_applied() -> None:
    assert plan(wanted(manifest()), {}, OWNERS) == Plan([marked(manifest(), "uid-role")], [], [])


def test_a_model_is_applied_again_only_if_its_manifest_changed() -> None:
    found = marked(manifest(), "uid-role")
    found["spec"]["replicas"] = 7  # by an autoscaler
    assert plan(wanted(manifest()), observed(found), OWNERS) == Plan([], [], [])
    changed = manifest(profile="l4")
    assert plan(wanted(changed), observed(found), OWNERS).apply == [marked(changed, "uid-role")]


def test_without_its_owner_nothing_is_applied() -> None:
    """The release is being uninstalled, or another operator serves the namespace."""
    assert plan(wanted(manifest()), {}, {}) == Plan([], [], [])


def test_a_model_that_is_not_in_the_release_any_more_is_deleted() -> None:
    found = marked(manifest("old"), "uid-role")
    assert plan(wanted(manifest()), observed(found), OWNERS).delete == [found]
    assert plan(wanted(manifest()), observed(found), {}).delete == []


def test_a_model_whose_entry_cannot_be_parsed_is_kept() -> None:
    found = marked(manifest("old"), "uid-role")
    assert plan(wanted(manifest(), problems=("old",)), observed(found), OWNERS).delete == []


def test_models_that_others_created_are_left_alone() -> None:
    """With the labels of the release they are objects of helm or Argo CD, which changes them."""
    users, helms = model(), manifest()
    copy = marked(manifest("old"), "uid-role")
    copy["metadata"]["name"] = "copy"
    unowned = marked(manifest("unowned"), "uid-other-role")
    for found, taken in ((users, [("ns", "m")]), (helms, [])):
        decided = plan(wanted(manifest(replicas=2)), observed(found, copy, unowned), OWNERS)
        assert decided == Plan([], [], taken)


def test_a_model_that_is_being_deleted_waits() -> None:
    old, kept = marked(manifest("old"), "uid-role"), marked(manifest(), "uid-role")
    for one in (old, kept):
        one["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert plan(wanted(manifest(replicas=2)), observed(old, kept), OWNERS) == Plan([], [], [])
