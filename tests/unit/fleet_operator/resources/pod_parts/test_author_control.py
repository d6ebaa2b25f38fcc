"""What lets the author of a resource control the server's container."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.accelerators import SpecLayer
from fleet_contract.completion import complete
from fleet_operator.resources.ca_bundle import VOLUME
from fleet_operator.resources.pod_parts.author_control import SERVER_VOLUMES, author_control


def control(spec: dict[str, Any], profile: dict[str, Any] | None = None) -> str | None:
    whole = complete({"model": "org/m", **spec}, {}, [SpecLayer("profile p", profile or {})])
    return author_control(whole.spec, whole.origins)


def in_pod(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": fields}}


def in_server(**fields: Any) -> dict[str, Any]:
    return in_pod(containers=[{"name": "server", **fields}])


SERVER = "podTemplate.spec.containers[server]"
CONTROLLED: list[tuple[dict[str, Any], str]] = [
    ({"image": "mine:1"}, "image"),
    ({"engine": "custom", "handler": "a.B"}, "handler"),
    ({"files": [{"path": "/tmp/.local/lib/x.pth", "content": "import os"}]}, "files"),
    ({"envFrom": [{"configMapRef": {"name": "c"}}]}, "envFrom"),
    ({"env": {"PYTHONPATH": "/tmp"}}, "env.PYTHONPATH"),
    ({"env": {"HF_ENDPOINT": {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}}},
     "env.HF_ENDPOINT"),
    ({"env": {"LD_PRELOAD": "/x.so"}}, "env.LD_PRELOAD"),
    ({"env": {"HTTPS_PROXY": "http://mine"}}, "env.HTTPS_PROXY"),
    ({"env": {"INSECURE_REGISTRIES": "r"}}, "env.INSECURE_REGISTRIES"),
    ({"env": {"MAX_STOP": "$(HF_TOKEN)"}}, "env.MAX_STOP"),
    (in_server(image="mine:1"), f"{SERVER}.image"),
    (in_server(command=["sh"]), f"{SERVER}.command"),
    (in_server(args=["-c"]), f"{SERVER}.args"),
    (in_server(workingDir="/tmp"), f"{SERVER}.workingDir"),
    (in_server(envFrom=[{"configMapRef": {"name": "c"}}]), f"{SERVER}.envFrom"),
    (in_server(env=[{"name": "PYTHONSTARTUP", "value": "x"}]), f"{SERVER}.env[PYTHONSTARTUP]"),
    (in_server(env=[{"name": "MAX_STOP", "value": "$(HF_TOKEN)"}]), f"{SERVER}.env[MAX_STOP]"),
    (in_server(env=[{"$patch": "replace"}]), f"{SERVER}.env[]"),
    (in_server(volumeMounts=[{"name": "v", "mountPath": "/opt"}]), f"{SERVER}.volumeMounts"),
    (in_server(readinessProbe={"exec": {"command": ["env"]}}), f"{SERVER}.readinessProbe"),
    (in_server(lifecycle={"postStart": {"exec": {"command": ["env"]}}}), f"{SERVER}.lifecycle"),
    (in_server(**{"$patch": "replace"}), SERVER),
    (in_pod(containers=[{"$patch": "replace"}]), "podTemplate.spec.containers[]"),
    (in_pod(containers=[{"name": "x", "image": "x", "volumeMounts": [
        {"name": "tmp", "mountPath": "/t"}]}]), "podTemplate.spec.containers[x].volumeMounts"),
    (in_pod(initContainers=[{"name": "x", "image": "x", "volumeMounts": [
        {"name": "tmp", "mountPath": "/t"}]}]), "podTemplate.spec.initContainers[x].volumeMounts"),
    (in_pod(volumes=[{"name": "tmp", "configMap": {"name": "c"}}]),
     "podTemplate.spec.volumes[tmp]"),
    (in_pod(shareProcessNamespace=True), "podTemplate.spec.shareProcessNamespace"),
    (in_pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["huggingface.co"]}]),
     "podTemplate.spec.hostAliases"),
    (in_pod(dnsConfig={"nameservers": ["10.0.0.1"]}), "podTemplate.spec.dnsConfig.nameservers"),
    ({"podTemplate": {"metadata": {"annotations": {"modelfleet.dev/file-0": "x"}}}},
     "podTemplate.metadata.annotations.modelfleet.dev/file-0"),
    ({"podTemplate": {"spec": "none"}}, "podTemplate.spec"),
    ({"podTemplate": {"spec": {"$patch": "replace"}}}, "podTemplate.spec.$patch"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "field"), CONTROLLED, ids=[field for _, field in CONTROLLED])
def test_the_field_is_named(spec: dict[str, Any], field: str) -> None:
    assert control(spec) == field


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"source": "hf://org/m@main", "replicas": 2, "limits": {"maxQueueSize": 1}},
        {"env": {"MAX_STOP": "4", "LOG_LEVEL": "debug", "HF_TOKEN": "mine"}},
        {"nodeSelector": {"a": "b"}, "resources": {"limits": {"memory": "1Gi"}}},
        {"podTemplate": {"metadata": {"labels": {"a.b/c": "d"}, "annotations": {"a.b/c": "d"}}}},
        in_pod(nodeSelector={"kubernetes.io/arch": "arm64"}, tolerations=[{"operator": "Exists"}]),
        in_pod(securityContext={"fsGroup": 1}, priorityClassName="high"),
        in_server(resources={"limits": {"cpu": "1"}}, env=[{"name": "LOG_LEVEL", "value": "info"}]),
        in_server(readinessProbe={"httpGet": {"path": "/exec", "port": 1}, "periodSeconds": 5}),
        in_pod(volumes=[{"name": "models", "emptyDir": {"sizeLimit": "500Gi"}}]),
        in_pod(
            containers=[{"name": "x", "image": "x", "command": ["sh"],
                         "volumeMounts": [{"name": "own", "mountPath": "/o"}]}],
            volumes=[{"name": "own", "emptyDir": {}}],
        ),
    ],
)  # fmt: skip
def test_other_fields_give_no_control(spec: dict[str, Any]) -> None:
    assert control(spec) is None


@pytest.mark.parametrize(("spec", "field"), CONTROLLED, ids=[field for _, field in CONTROLLED])
def test_what_a_profile_sets_is_the_platforms(spec: dict[str, Any], field: str) -> None:
    assert control({}, spec) is None, field


def test_a_volume_that_a_profile_mounts_into_the_server() -> None:
    mounted = {"name": "server", "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl"}]}
    profile = in_pod(containers=[mounted])
    spec = in_pod(volumes=[{"name": "ca", "configMap": {"name": "mine"}}])
    assert control(spec, profile) == "podTemplate.spec.volumes[ca]"
    assert control(spec) is None


def test_the_volumes_of_servers_are_listed() -> None:
    assert VOLUME in SERVER_VOLUMES
