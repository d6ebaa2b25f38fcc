"""The variables of a server's container that come from Secrets and ConfigMaps."""

from __future__ import annotations

import json

import pytest

from fleet_contract import launch
from fleet_operator.resources.images import Problem
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from support.pod_templates import template

S3 = {"endpoint": "https://s3.example.com", "region": "eu-1", "secretRef": {"name": "keys"}}


@pytest.mark.parametrize(
    ("environ", "profile", "secret"),
    [
        ({"HF_TOKEN_SECRET": "hub"}, None, "hub"),
        ({"HF_TOKEN_SECRET": "hub"}, Profile(hf_token_secret="mine"), "mine"),
    ],
)
def test_the_hub_token_is_a_reference(
    sources: Sources, environ: dict[str, str], profile: Profile | None, secret: str
) -> None:
    (container,) = template(sources, profile, environ)["spec"]["containers"]
    assert container["env"][-1] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": secret, "key": "HF_TOKEN", "optional": True}},
    }


@pytest.mark.parametrize("engine", ["container", "vllm"])
def test_images_of_other_projects_do_not_get_the_hub_token(sources: Sources, engine: str) -> None:
    """Unless the resource itself passes it on."""
    environ = {"HF_TOKEN_SECRET": "hub"}
    container = {"image": "other:1"}
    found = template(sources, None, environ, engine=engine, container=container)
    assert "HF_TOKEN" not in str(found)
    source = {"valueFrom": {"secretKeyRef": {"name": "mine", "key": "token"}}}
    found = template(
        sources, None, environ, engine=engine, container=container, env={"HF_TOKEN": source}
    )
    (server,) = found["spec"]["containers"]
    assert {"name": "HF_TOKEN", **source} in server["env"]


def test_the_keys_of_a_bucket_are_references(sources: Sources) -> None:
    found = template(sources, source="s3://weights/m", s3=S3)
    (server,) = found["spec"]["containers"]
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"]
            for one in server["env"] if one["name"].startswith("AWS_")}  # fmt: skip
    assert keys == {
        "AWS_ACCESS_KEY_ID": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"},
        "AWS_SECRET_ACCESS_KEY": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"},
        "AWS_SESSION_TOKEN": {"name": "keys", "key": "AWS_SESSION_TOKEN", "optional": True},
    }
    environ = {one["name"]: one["value"] for one in server["env"] if "value" in one}
    served = launch.decode(environ).s3
    assert served is not None
    assert served.secret_ref is None
    assert (served.endpoint, served.region) == ("https://s3.example.com", "eu-1")


def test_the_store_of_a_profile_changes_only_pods_whose_source_is_in_a_bucket(
    sources: Sources,
) -> None:
    profile = Profile.model_validate({"s3": S3})
    assert template(sources, profile) == template(sources)
    assert "keys" in str(template(sources, profile, source="s3://weights/m"))
    other = {"endpoint": "https://elsewhere.example.com"}
    assert "keys" not in str(template(sources, profile, source="s3://weights/m", s3=other))


def test_own_keys_of_a_bucket_replace_those_of_the_secret(sources: Sources) -> None:
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "x"}
    (server,) = template(sources, source="s3://weights/m", s3=S3, env=env)["spec"]["containers"]
    assert "secretKeyRef" not in str(server)


@pytest.mark.parametrize("engine", ["container", "vllm"])
def test_images_of_other_projects_do_not_get_the_keys_of_a_bucket(
    sources: Sources, engine: str
) -> None:
    other = {"engine": engine, "container": {"image": "other:1"}}
    refused = template(sources, source="s3://weights/m", s3=S3, **other)
    assert isinstance(refused, Problem)
    assert "env" in refused.message
    assert "keys" not in str(template(sources, source="hf://org/m", s3=S3, **other))


def test_variables_of_secrets_and_config_maps(sources: Sources) -> None:
    secret = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "a", "optional": True}}}
    config = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "b"}}}
    every = [{"secretRef": {"name": "s"}, "prefix": "S_"}, {"configMapRef": {"name": "c"}}]
    profile = Profile.model_validate(
        {"env": {"A": "plain", "B": config, "MAX_ITEMS": "7"}, "envFrom": every}
    )
    (server,) = template(sources, profile, env={"A": secret})["spec"]["containers"]
    variables = {one["name"]: one for one in server["env"]}
    assert variables["A"] == {"name": "A", **secret}
    assert variables["B"] == {"name": "B", **config}
    assert variables["MAX_ITEMS"] == {"name": "MAX_ITEMS", "value": "7"}
    assert server["envFrom"] == every
    own = [{"secretRef": {"name": "own", "optional": True}}]
    (server,) = template(sources, profile, envFrom=own)["spec"]["containers"]
    assert server["envFrom"] == own
    served = json.loads(variables["MODELFLEET_SPEC"]["value"])
    assert not {"env", "envFrom"} & set(served)


def test_a_source_of_a_variable_replaces_that_of_the_profile(sources: Sources) -> None:
    config = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "b"}}}
    secret = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}
    profile = Profile.model_validate({"env": {"A": config, "B": config}})
    (server,) = template(sources, profile, env={"A": secret, "B": "plain"})["spec"]["containers"]
    variables = {one["name"]: one for one in server["env"]}
    assert variables["A"] == {"name": "A", **secret}
    assert variables["B"] == {"name": "B", "value": "plain"}


PLATFORM = Profile.model_validate({"hfTokenSecret": "hub", "s3": S3, "registrySecret": "login"})
AUTHORED = {"env": {"PYTHONPATH": "/tmp"}}


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("hf://org/m", ["HF_TOKEN"]),
        ("s3://weights/m", ["HF_TOKEN", "AWS_ACCESS_KEY_ID"]),
        ("oci://r.example.com/w:1", ["HF_TOKEN", "DOCKER_AUTH_CONFIG"]),
    ],
)
def test_no_secret_of_the_platform_reaches_code_of_the_author(
    sources: Sources, source: str, variables: list[str]
) -> None:
    trusted = template(sources, PLATFORM, source=source)
    for name in variables:
        assert f"'name': '{name}'" in str(trusted)
    for authored in (AUTHORED, {"image": "mine:1"}):
        found = template(sources, PLATFORM, source=source, **authored)
        assert "secretKeyRef" not in str(found)
    by_profile = PLATFORM.model_copy(update={"image": "theirs:1", "env": {"PYTHONPATH": "/x"}})
    assert "secretKeyRef" in str(template(sources, by_profile, source=source))


def test_keys_that_the_resource_names_are_passed_to_its_own_code(sources: Sources) -> None:
    own = {**S3, "secretRef": {"name": "mine"}}
    found = template(sources, PLATFORM, source="s3://weights/m", s3=own, image="mine:1")
    (server,) = found["spec"]["containers"]
    names = {one["valueFrom"]["secretKeyRef"]["name"] for one in server["env"]
             if "valueFrom" in one}  # fmt: skip
    assert names == {"mine"}


def test_text_of_a_spec_refers_to_no_variable(sources: Sources) -> None:
    """The kubelet replaces `$(HF_TOKEN)`, and `$$` by `$`."""
    golden = [{"prompt": "$$x$$ costs $5, $(HF_TOKEN)", "contains": "x"}]
    spec = {"model": "org/m", "task": "chat"}
    plain = template(sources, **spec)["spec"]["containers"][0]["env"]
    assert "$" not in str(plain)
    (server,) = template(sources, **spec, golden=golden)["spec"]["containers"]
    (text,) = [one["value"] for one in server["env"] if one["name"] == "MODELFLEET_SPEC"]
    assert "$$$$x$$$$ costs $$5, $$(HF_TOKEN)" in text
    served = launch.decode({"MODELFLEET_SPEC": text.replace("$$", "$")})
    assert served.golden[0].prompt == golden[0]["prompt"]
