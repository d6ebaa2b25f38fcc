"""Manifests of the release's models, and the marks on the InferenceModels made from them."""

from __future__ import annotations

import pytest
import yaml

from fleet_operator.resources import release_models
from support.operator_objects import model

LABELS = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/instance": "fleet"}


def manifest(name: str = "m", **spec: object) -> dict[str, object]:
    made = model(name, **spec)
    made["metadata"] = {"name": name, "namespace": "ns", "labels": dict(LABELS)}
    return made


def test_each_entry_is_a_manifest() -> None:
    found = release_models.parse({"m": yaml.safe_dump(manifest())})
    assert found.manifests == {("ns", "m"): manifest()}
    assert found.problems == {}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "flow"),
        ("", "NoneType"),
        ("[]", "list"),
        ("{apiVersion: v1, kind: Secret}", "not a InferenceModel of modelfleet.dev/v1alpha1"),
        (yaml.safe_dump(manifest("other")), "its name is not that of the entry"),
        (yaml.safe_dump({**manifest(), "metadata": {"name": "m"}}), "namespace"),
        ("[" * 10_000, "nested more than 100 levels deep"),
    ],
)
def test_an_entry_that_is_no_manifest_is_a_problem(text: str, part: str) -> None:
    found = release_models.parse({"m": text})
    assert found.manifests == {}
    assert part in found.problems["m"]


def test_mark_digest_and_owner_are_added() -> None:
    made = release_models.marked(manifest(), "uid-role")
    assert made["spec"] == manifest()["spec"]
    assert release_models.is_marked(made)
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "name": "modelfleet-models", "uid": "uid-role",
    }  # fmt: skip
    digests = {
        release_models.applied_digest(one)
        for one in (
            made,
            release_models.marked(manifest(), "uid-role"),
            release_models.marked(manifest(replicas=2), "uid-role"),
            release_models.marked(manifest(), "uid-new-role"),
        )
    }
    assert len(digests) == 3


def test_a_copy_under_another_name_is_not_marked() -> None:
    copy = release_models.marked(manifest(), "uid-role")
    copy["metadata"]["name"] = "copy"
    assert not release_models.is_marked(copy)
    assert not release_models.is_marked(model())


def test_objects_of_the_release_have_its_labels() -> None:
    assert release_models.is_of_the_release(manifest(), manifest())
    assert not release_models.is_of_the_release(model(), manifest())
    other = manifest()
    other["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"  # type: ignore[index]
    assert not release_models.is_of_the_release(other, manifest())
    assert not release_models.is_of_the_release(model(), model())
