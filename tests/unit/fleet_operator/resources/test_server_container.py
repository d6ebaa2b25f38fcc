"""The server's container in the pod template."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract import launch
from fleet_contract.names import ENV_SPEC, PATH_READY
from fleet_contract.spec import Engine
from fleet_operator.names import SERVER_COMMAND
from fleet_operator.resources.images import Problem
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from support.pod_templates import template


def test_the_server_can_read_what_it_is_given(sources: Sources) -> None:
    (container,) = template(sources, aliases=["x"], limits={"maxItems": 3})["spec"]["containers"]
    environ = {item["name"]: item["value"] for item in container["env"]}
    spec = launch.decode(environ)
    assert (spec.ids, spec.limits.max_items) == (("org/m", "x"), 3)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"model": "org/m-1B"}, "8Gi"),
        ({"model": "org/m-1B", "env": {"KV_CACHE_GIB": "10"}}, "26Gi"),
        ({"model": "org/m-1B", "resources": {"requests": {"memory": "6Gi"}}}, "12Gi"),
        ({"model": "org/m-1B", "resources": {"limits": {"memory": "1Gi"}}}, "1Gi"),
        ({"model": "org/m-1B", "podTemplate": {"spec": {"containers": [
            {"name": "server", "resources": {"limits": {"memory": "2Gi"}}}]}}}, "2Gi"),
        ({"model": "org/m-1B", "podTemplate": {"spec": {"containers": [
            {"name": "server", "resources": {"requests": {"memory": "20Gi"}}}]}}}, "40Gi"),
        ({"model": "sentence-transformers/all-MiniLM-L6-v2"}, "2Gi"),
    ],
)  # fmt: skip
def test_every_server_has_a_memory_limit(
    sources: Sources, fields: dict[str, Any], limit: str
) -> None:
    (server,) = template(sources, **fields)["spec"]["containers"]
    assert server["resources"]["limits"]["memory"] == limit


def test_a_profile_may_set_the_memory_limit_and_the_operator_none(sources: Sources) -> None:
    limits = Profile.model_validate({"resources": {"limits": {"memory": "3Gi"}}})
    (server,) = template(sources, limits)["spec"]["containers"]
    assert server["resources"]["limits"]["memory"] == "3Gi"
    none = {"MEMORY_LIMIT_FACTOR": "0"}
    (server,) = template(sources, environ=none)["spec"]["containers"]
    assert "resources" not in server


def test_a_custom_image_keeps_its_user_and_writable_root(sources: Sources) -> None:
    container = {"image": "llama:1", "args": ["-m", "x"], "port": 9000, "readyPath": "/ok"}
    found = template(sources, engine="container", container=container)["spec"]
    assert found["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    (server,) = found["containers"]
    assert (server["image"], server["args"]) == ("llama:1", ["-m", "x"])
    assert "command" not in server
    assert server["ports"][0]["containerPort"] == 9000
    assert server["readinessProbe"]["httpGet"]["path"] == "/ok"
    assert server["startupProbe"]["failureThreshold"] == 720
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert "MODELFLEET_SPEC" not in str(server["env"])


def test_arguments_of_vllm(sources: Sources) -> None:
    found = template(
        sources, engine="vllm", aliases=["x"], source="hf://org/repo@abc",
        container={"image": "vllm:1", "args": ["--max-model-len", "4096"]},
    )  # fmt: skip
    (server,) = found["spec"]["containers"]
    assert server["command"] == ["vllm", "serve"]
    assert server["args"] == [
        "org/repo", "--revision", "abc", "--served-model-name", "org/m", "x",
        "--host", "0.0.0.0", "--port", "8000", "--max-model-len", "4096",
    ]  # fmt: skip


def test_the_server_image_with_vllm_runs_our_server(sources: Sources) -> None:
    environ = {"SERVER_IMAGE_VLLM": "own"}
    (server,) = template(sources, engine="vllm", environ=environ)["spec"]["containers"]
    assert (server["image"], server["command"]) == ("own", list(SERVER_COMMAND))
    assert server["args"] == ["--host", "0.0.0.0", "--port", "8000"]
    assert server["readinessProbe"]["httpGet"]["path"] == PATH_READY
    (sent,) = [one["value"] for one in server["env"] if one["name"] == ENV_SPEC]
    assert launch.decode({ENV_SPEC: sent}).engine is Engine.VLLM


def test_adapters_of_vllm(sources: Sources) -> None:
    adapters = [{"name": "sql", "source": "hf://org/sql"},
                {"name": "code", "source": "pvc://claim/code"}]  # fmt: skip
    found = template(sources, engine="vllm", adapters=adapters, container={"image": "vllm:1"})
    (server,) = found["spec"]["containers"]
    first = server["args"].index("--enable-lora")
    assert server["args"][first : first + 4] == [
        "--enable-lora", "--lora-modules", "org/m:sql=org/sql", "org/m:code=/weights/code",
    ]  # fmt: skip
    assert any(volume.get("persistentVolumeClaim") for volume in found["spec"]["volumes"])


@pytest.mark.parametrize(
    "adapter",
    [
        {"source": "hf://org/sql@abc"},
        {"source": "hf://org/sql/folder"},
        {"source": "pypi://sql==1/sql"},
        {"source": "https://host.test/sql.gguf", "sha256": "0" * 64},
        {"source": "pvc://claim/sql", "sha256": "0" * 64},
    ],
)
def test_what_vllm_would_load_otherwise_is_refused(
    sources: Sources, adapter: dict[str, str]
) -> None:
    adapters = [{"name": "sql", **adapter}]
    refused = template(sources, engine="vllm", adapters=adapters, container={"image": "vllm:1"})
    assert isinstance(refused, Problem)
    assert refused.reason == "InvalidSpec"
    assert refused.message.startswith("adapters: vLLM's own server loads 'sql' itself")


def test_an_image_of_the_spec_is_used(sources: Sources) -> None:
    found = template(sources, engine="llamacpp", image="mine:1")
    assert found["spec"]["containers"][0]["image"] == "mine:1"


@pytest.mark.parametrize(
    ("address", "host"), [("", "0.0.0.0"), ("10.0.0.7", "0.0.0.0"), ("fd00::7", "::")]
)
def test_servers_listen_on_the_addresses_of_the_cluster(
    sources: Sources, address: str, host: str
) -> None:
    (server,) = template(sources, environ={"POD_IP": address})["spec"]["containers"]
    assert server["args"][:2] == ["--host", host]


def test_a_server_uses_the_intel_gpu_that_it_requests(sources: Sources) -> None:
    resources = {"limits": {"gpu.intel.com/xe": "1"}}
    found = template(sources, environ={"SERVER_IMAGE_INTEL": "intel"}, resources=resources)
    (server,) = found["spec"]["containers"]
    assert server["image"] == "intel"
    environ = {item["name"]: item.get("value") for item in server["env"]}
    assert json.loads(str(environ["MODELFLEET_SPEC"]))["device"] == "gpu"
