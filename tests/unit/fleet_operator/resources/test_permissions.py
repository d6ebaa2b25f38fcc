"""What an InferenceModel may set, checked by the operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_operator.resources.images import Problem
from fleet_operator.resources.permissions import refusal
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources, resolve
from support.operator_objects import model, settings_of

BAD = {"spec": {"hostNetwork": True}}
HUB = {"HF_TOKEN_SECRET": "hub", "IMAGE_PULL_SECRETS": "pull"}


def checked(sources: Sources, namespace: str = "ns", environ: Any = None, **spec: Any) -> Any:
    raw = model(**spec)
    raw["metadata"]["namespace"] = namespace
    return refusal(raw, resolve(raw["spec"], sources), settings_of(**(environ or {})))


def test_pod_templates_are_restricted_unless_they_are_open(sources: Sources) -> None:
    found = checked(sources, podTemplate=BAD)
    assert isinstance(found, Problem)
    assert found.reason == "InvalidSpec"
    assert found.message.startswith("podTemplate.spec.hostNetwork may be false only")
    assert checked(sources, environ={"POD_TEMPLATES": "full"}, podTemplate=BAD) is None
    assert checked(sources) is None


def test_templates_of_profiles_are_the_platforms(sources: Sources) -> None:
    profiles = {"default": Profile.model_validate({"podTemplate": BAD})}
    assert checked(Sources(sources.catalog, profiles, {})) is None


@pytest.mark.parametrize(
    ("namespace", "secret", "allowed"),
    [("ns", "own", True), ("ns", "hub", False), ("ns", "pull", False), ("ns", "mine", False),
     ("ns", "bucket", False), ("ns", "registry", False), ("ns", "other", False),
     ("system", "own", False)],
)  # fmt: skip
def test_secrets_of_the_platform_are_refused(
    sources: Sources, namespace: str, secret: str, allowed: bool
) -> None:
    store = {"secretRef": {"name": "bucket"}}
    profiles = {
        "default": Profile.model_validate(
            {"hfTokenSecret": "mine", "registrySecret": "registry", "s3": store}
        ),
        "gpu": Profile.model_validate({"hfTokenSecret": "other"}),
    }
    raw = model()
    raw["metadata"]["namespace"] = namespace
    found = resolve(raw["spec"], Sources(sources.catalog, profiles, {}))
    raw["spec"]["s3"] = {"secretRef": {"name": secret}}
    assert (refusal(raw, found, settings_of(**HUB)) is None) is allowed
    del raw["spec"]["s3"]
    raw["spec"]["envFrom"] = [{"secretRef": {"name": secret}}]
    assert (refusal(raw, found, settings_of(**HUB)) is None) is allowed
    assert refusal(raw, found, settings_of(**HUB, POD_TEMPLATES="full")) is None


RULES = [{"name": "KEY", "addresses": ["https://far.test"], "namespaces": ["ns"]}]
REMOTE = {"engine": "remote", "remote": {"address": "https://far.test/v1", "apiKeyEnv": "KEY"}}


def test_a_key_goes_where_the_rules_permit(sources: Sources) -> None:
    rules = {"REMOTE_KEYS": json.dumps(RULES)}
    assert checked(sources, environ=rules, **REMOTE) is None
    found = checked(sources, "other", rules, **REMOTE)
    assert found == Problem(
        "RemoteKeyRefused", "the key KEY may not be used by models in the namespace 'other'"
    )
    assert checked(sources, environ={"REMOTE_KEYS": "[]"}, **REMOTE) is not None
    assert checked(sources, **REMOTE) is None, "without rules the routers decide"
    keyless = {**REMOTE, "remote": {"address": "http://far.test"}}
    assert checked(sources, environ=rules, **keyless) is None
