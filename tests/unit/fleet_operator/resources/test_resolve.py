"""From a short resource to the spec that is served: catalog, profile, problems."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.resources import profiles
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Resolver, Sources, resolve
from support.operator_objects import model

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
L4 = """
nodeSelector: {gpu: l4}
tolerations: [{key: nvidia.com/gpu, operator: Exists}]
resources: {limits: {nvidia.com/gpu: 1, memory: 8Gi}}
runtimeClassName: nvidia
env: {A: "1", B: "2"}
modelCache: {size: 50Gi}
hfTokenSecret: hub
"""


@pytest.fixture
def known(sources: Sources) -> Sources:
    read, problems = profiles.parse(
        {
            "l4": L4,
            "bad": "nodeSelector: 3",
            "odd": "{",
            "empty": "",
        }
    )
    return Sources(sources.catalog, read, problems)


def test_catalog_then_profile_fill_what_the_resource_leaves_out(known: Sources) -> None:
    wire: dict[str, Any] = {
        "model": MINILM, "profile": "l4", "replicas": 1, "env": {"A": "9"},
        "resources": {"limits": {"memory": "2Gi"}},
    }  # fmt: skip
    found = resolve(wire, known)
    assert found.problem is None
    spec = found.spec
    assert spec is not None
    assert (spec.task.value, spec.dimensions) == ("embedding", 384)
    assert spec.node_selector == {"gpu": "l4"}
    assert spec.resources.limits == {"memory": "2Gi", "nvidia.com/gpu": "1"}
    assert spec.env == {"A": "9", "B": "2"}
    assert found.ids == known.catalog[MINILM].ids
    assert {path: found.origins[path] for path in (
        "model", "task", "nodeSelector.gpu", "resources.limits.memory", "env.A", "env.B",
    )} == {
        "model": "manifest", "task": "catalog", "nodeSelector.gpu": "profile l4",
        "resources.limits.memory": "manifest", "env.A": "manifest", "env.B": "profile l4",
    }  # fmt: skip
    assert found.profile.model_cache is not None
    assert (found.profile.model_cache.size, found.profile.hf_token_secret) == ("50Gi", "hub")


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        ({"model": "m", "profile": "none"}, "profile 'none' does not exist; known: empty, l4"),
        ({"model": "m", "engine": "remote"}, "remote: engine 'remote' needs an address"),
        ({"model": MINILM, "vision": True}, "vision: only a chat model reads images"),
        ({"model": "-"}, "model: "),
    ],
)
def test_problems_are_returned(known: Sources, wire: dict[str, Any], problem: str) -> None:
    found = resolve(wire, known)
    assert found.spec is None
    assert problem in (found.problem or "")
    assert found.ids[0] == wire["model"]


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("bad", "profile 'bad': nodeSelector: Input should be"),
        ("odd", "profile 'odd': not valid YAML"),
    ],
)
def test_a_profile_that_is_not_valid_prevents_new_pods(
    known: Sources, named: str, problem: str
) -> None:
    found = resolve({"model": "m", "profile": named}, known)
    assert found.profile_unknown
    assert found.obstacle is not None
    assert (found.obstacle.reason, problem in found.obstacle.message) == ("InvalidSpec", True)
    earlier = replace(known, profiles={**known.profiles, named: Profile(device="cpu")})
    found = resolve({"model": "m", "profile": named}, earlier)
    assert (found.profile_name, found.profile_unknown, found.obstacle) == (named, False, None)
    assert found.profile_flaw is not None
    assert found.spec is not None
    assert found.spec.device == "cpu"


def test_a_default_profile_that_is_not_valid_concerns_models_that_name_none(
    sources: Sources,
) -> None:
    broken = Sources(sources.catalog, {}, {"default": "profile 'default': wrong"})
    found = resolve({"model": "m"}, broken)
    assert found.obstacle is not None
    assert found.obstacle.message == "profile 'default': wrong"
    missing = Sources(sources.catalog, {}, {}, "missing")
    assert resolve({"model": "m"}, missing).obstacle is None
    assert resolve({"model": "m", "profile": "a"}, missing).obstacle is not None


def test_a_profile_that_is_nested_too_deeply_is_a_problem_of_its_own() -> None:
    read, problems = profiles.parse({"deep": "podTemplate: " + "[" * 1000, "fine": "device: cpu"})
    assert problems["deep"].startswith("profile 'deep': not valid YAML")
    assert set(read) == {"fine"}


def test_the_default_profile_applies_where_none_is_named(sources: Sources) -> None:
    default = Sources(sources.catalog, {"default": Profile(priority_class_name="low")}, {})
    found = resolve({"model": "m"}, default)
    assert found.spec is not None
    assert found.spec.priority_class_name == "low"
    assert found.origins["priorityClassName"] == "profile default"


def test_an_entry_may_name_its_profile(known: Sources) -> None:
    entry = known.catalog[MINILM].model_copy(update={"profile": "l4"})
    found = resolve({"model": MINILM}, Sources({MINILM: entry}, known.profiles, {}))
    assert found.spec is not None
    assert found.spec.runtime_class_name == "nvidia"


def test_resolutions_are_kept_until_something_changes(sources: Sources) -> None:
    resolver = Resolver(sources)
    raw = model()
    first = resolver.resolve(raw)
    assert resolver.resolve(dict(raw)) is first
    raw["metadata"]["generation"] = 3
    assert resolver.resolve(raw) is not first
    assert not resolver.use(Sources(dict(sources.catalog), {}, {}))
    second = resolver.resolve(raw)
    assert resolver.use(Sources(sources.catalog, {"default": Profile(device="cpu")}, {}))
    third = resolver.resolve(raw)
    assert third is not second
    assert third.spec is not None
    assert third.spec.device == "cpu"
