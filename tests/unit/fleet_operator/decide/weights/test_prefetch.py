"""Which weights are downloaded ahead of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.decide.observed import Observed, Rival
from fleet_operator.decide.weights.prefetch import is_prefetched, unwanted, wanted
from fleet_operator.features import Features
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from support.operator_objects import model, settings_of

Observe = Callable[..., Observed]
NODE = {"node": True, "prefetch": True}
S3 = {"endpoint": "https://s3", "secretRef": {"name": "keys"}}
PROFILES = {
    "default": Profile.model_validate(
        {"modelCache": NODE, "hfTokenSecret": "hub", "registrySecret": "login", "s3": S3}
    ),
    "other": Profile.model_validate({"modelCache": NODE}),
    "lazy": Profile.model_validate({"modelCache": {"node": True}}),
    "claims": Profile.model_validate({"modelCache": {"size": "1Gi"}}),
}


@pytest.fixture
def known(sources: Sources) -> Sources:
    return replace(sources, profiles=PROFILES)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"profile": "other"},
        {"replicas": 0},
        {"scaleToZeroAfter": 60, "env": {"LOG_LEVEL": "debug"}},
        {"source": "s3://b/m"},
        {"source": "pypi://package"},
        {"source": "oci://r.example.com/w:1"},
    ],
)
def test_weights_that_servers_download(
    observe: Observe, known: Sources, spec: dict[str, Any]
) -> None:
    assert is_prefetched(observe(model(**spec), sources=known))


@pytest.mark.parametrize(
    "spec",
    [
        {"profile": "lazy"},
        {"profile": "claims"},
        {"profile": "unknown"},
        {"stopped": True},
        {"engine": "remote", "remote": {"address": "https://a"}},
        {"engine": "vllm", "container": {"image": "x"}},
        {"engine": "custom", "handler": "a.B"},
        {"source": "pvc://claim/m"},
        {"source": "file:///m"},
        {"image": "mine:1"},
        {"env": {"HF_ENDPOINT": "https://mine"}},
        {"env": {"HF_TOKEN": "mine"}},
        {"source": "s3://b/m", "s3": {**S3, "secretRef": {"name": "mine"}}},
        {"podTemplate": {"spec": {"hostNetwork": True}}},
    ],
)
def test_other_models_are_left_out(observe: Observe, known: Sources, spec: dict[str, Any]) -> None:
    observed = observe(model(**spec), sources=known)
    assert not is_prefetched(observed)
    assert wanted([observed]) == {}


def test_models_that_are_not_served(observe: Observe, known: Sources) -> None:
    raw = model()
    assert not is_prefetched(observe(raw, sources=known, rival=Rival("other", "org/m")))
    leaving = {**raw, "metadata": {**raw["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert not is_prefetched(observe(leaving, sources=known))
    mounted = observe(model(source="oci://r.example.com/w:1"), sources=known,
                      features=Features(image_volumes=True))  # fmt: skip
    assert not is_prefetched(mounted)


def test_one_daemon_set_for_each_profile_and_namespace(observe: Observe, known: Sources) -> None:
    elsewhere = model("d", model="org/d")
    elsewhere["metadata"]["namespace"] = "team"
    models = [model("a", model="org/a"), model("b", model="org/b", source="s3://b/b"),
              model("c", model="org/c", profile="other"), elsewhere]  # fmt: skip
    found = wanted(observe(raw, sources=known) for raw in models)
    assert sorted(found) == [
        ("ns", "modelfleet-prefetch-default"),
        ("ns", "modelfleet-prefetch-other"),
        ("team", "modelfleet-prefetch-default"),
    ]
    template = found["ns", "modelfleet-prefetch-default"].object["spec"]["template"]
    text = template["metadata"]["annotations"]["modelfleet.dev/models"]
    assert "org/a" in text
    assert "org/b" in text
    assert "org/c" not in text
    names = [one["name"] for one in template["spec"]["initContainers"][1]["env"]
             if "valueFrom" in one]  # fmt: skip
    assert names == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN"]
    plain = found["ns", "modelfleet-prefetch-other"].object
    assert "secretKeyRef" not in str(plain)


def test_the_order_of_models_does_not_matter(observe: Observe, known: Sources) -> None:
    models = [observe(model(name, f"uid-{name}", model=f"org/{name}"), sources=known)
              for name in "abc"]  # fmt: skip
    assert wanted(models) == wanted(reversed(models))


def test_what_no_model_wants_is_deleted_unless_profiles_are_unknown(
    observe: Observe, known: Sources
) -> None:
    found = wanted([observe(model("a"), sources=known),
                    observe(model("b", profile="other"), sources=known)])  # fmt: skip
    existing = [one.object for one in found.values()]
    foreign = {"metadata": {"namespace": "ns", "name": "modelfleet-prefetch-x",
                            "labels": {"modelfleet.dev/prefetch": "x"}}}  # fmt: skip
    assert unwanted([*existing, foreign], found, known) == []
    assert unwanted([*existing, foreign], {}, known) == existing
    assert unwanted(existing, {}, replace(known, missing="gone")) == []
    assert unwanted(existing, {}, replace(known, problems={"other": "typo"})) == existing[:1]


def test_refused_templates_count_only_where_they_are_restricted(
    observe: Observe, known: Sources
) -> None:
    raw = model(podTemplate={"spec": {"serviceAccountName": "a"}})
    assert not is_prefetched(observe(raw, sources=known))
    free = settings_of(POD_TEMPLATES="full")
    assert is_prefetched(observe(raw, sources=known, settings=free))
