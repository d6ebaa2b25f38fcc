"""The pod template, compared whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_operator.features import Features
from fleet_operator.resources.images import Problem
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources, resolve
from support.operator_objects import settings_of
from support.pod_templates import template


def test_servers_have_a_service_account_where_one_is_set(sources: Sources) -> None:
    assert "serviceAccountName" not in template(sources)["spec"]
    pod = template(sources, environ={"SERVER_SERVICE_ACCOUNT": "models"})["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("models", False)
    mounted = Profile.model_validate(
        {"podTemplate": {"spec": {"automountServiceAccountToken": True}}}
    )
    assert template(sources, mounted)["spec"]["automountServiceAccountToken"] is True


def test_a_small_model_whole(sources: Sources) -> None:
    probe = {"httpGet": {"path": "/livez", "port": "http", "scheme": "HTTP"}}
    found = template(sources, task="embedding", replicas=3)
    version = found["metadata"]["labels"]["modelfleet.dev/template"]
    assert found == {
        "metadata": {
            "labels": {
                "modelfleet.dev/inferencemodel": "m",
                "app.kubernetes.io/managed-by": "modelfleet",
                "modelfleet.dev/template": version,
            }
        },
        "spec": {
            "containers": [
                {
                    "name": "server",
                    "image": "modelfleet-server:cpu",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["modelfleet", "server"],
                    "args": ["--host", "0.0.0.0", "--port", "8000"],
                    "env": [
                        {"name": "DRAIN_TIMEOUT", "value": "600"},
                        {"name": "HOME", "value": "/tmp"},
                        {
                            "name": "MODELFLEET_SPEC",
                            "value": '{"model":"org/m","task":"embedding"}',
                        },
                        {"name": "MODELS_DIR", "value": "/models"},
                    ],
                    "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
                    "startupProbe": {
                        **probe,
                        "periodSeconds": 1,
                        "timeoutSeconds": 2,
                        "failureThreshold": 120,
                    },
                    "readinessProbe": {
                        "httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"},
                        "periodSeconds": 1,
                        "timeoutSeconds": 2,
                        "failureThreshold": 2,
                    },
                    "livenessProbe": {
                        **probe,
                        "periodSeconds": 10,
                        "timeoutSeconds": 5,
                        "failureThreshold": 3,
                    },
                    "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "models", "mountPath": "/models"},
                    ],
                    "resources": {
                        "requests": {"memory": "128Mi"},
                        "limits": {"memory": "35Gi"},
                    },
                }
            ],
            "volumes": [
                {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}},
                {"name": "models", "emptyDir": {"sizeLimit": "200Gi"}},
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 618,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"modelfleet.dev/inferencemodel": "m"}},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"replicas": 7},
        {"minReplicas": 1, "maxReplicas": 9, "targetInFlight": 2, "scaleDownDelay": 5},
        {"scaleToZeroAfter": 60},
        {"priority": 5, "yieldsAfter": 60},
        {"routing": {"strategy": "PrefixHash"}},
        {"fallback": "org/other"},
    ],
)
def test_fields_that_servers_do_not_use_keep_the_version(
    sources: Sources, fields: dict[str, Any]
) -> None:
    assert template(sources, **fields) == template(sources)


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": {"maxItems": 3}},
        {"aliases": ["x"]},
        {"env": {"LOG_LEVEL": "debug"}},
        {"files": [{"path": "/etc/x", "content": "y"}]},
        {"nodeSelector": {"a": "b"}},
        {"resources": {"limits": {"cpu": 1}}},
    ],
)
def test_fields_that_servers_use_change_the_version(
    sources: Sources, fields: dict[str, Any]
) -> None:
    label = "modelfleet.dev/template"
    old, new = template(sources), template(sources, **fields)
    assert old["metadata"]["labels"][label] != new["metadata"]["labels"][label]


def test_placement(sources: Sources) -> None:
    fields: dict[str, Any] = {
        "nodeSelector": {"gpu": "l4"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    }
    resources = {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "2"}}
    found = template(sources, environ={"SERVER_IMAGE_CUDA": "cuda"}, resources=resources, **fields)[
        "spec"
    ]
    assert {name: found[name] for name in fields} == fields
    (container,) = found["containers"]
    assert container["resources"] == {
        "limits": {"nvidia.com/gpu": "1", "memory": "36Gi"},
        "requests": {"cpu": "2", "memory": "128Mi"},
    }
    assert container["image"] == "cuda"


def test_an_accelerator_brings_its_toleration(sources: Sources) -> None:
    """Also where podTemplate requests it; not where the model runs on a CPU."""
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    expected = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    cuda = {"SERVER_IMAGE_CUDA": "cuda"}
    assert template(sources, environ=cuda, resources=gpu)["spec"]["tolerations"] == expected
    patch = {"spec": {"containers": [{"name": "server", "resources": gpu}]}}
    assert template(sources, podTemplate=patch)["spec"]["tolerations"] == expected
    assert "tolerations" not in template(sources, resources={"limits": {"memory": "1Gi"}})["spec"]


def test_files_are_passed_as_annotations(sources: Sources) -> None:
    files = [{"path": "/etc/a.txt", "content": "A"}, {"path": "/etc/b.txt", "content": "B"}]
    found = template(sources, files=files)
    assert found["metadata"]["annotations"] == {
        "modelfleet.dev/file-0": "A", "modelfleet.dev/file-1": "B",
    }  # fmt: skip
    pod = found["spec"]
    assert pod["volumes"][-1] == {
        "name": "files",
        "downwardAPI": {
            "items": [
                {"path": f"file-{i}", "fieldRef": {
                    "fieldPath": f"metadata.annotations['modelfleet.dev/file-{i}']"}}
                for i in range(2)
            ]
        },
    }  # fmt: skip
    (container,) = pod["containers"]
    assert container["volumeMounts"][-1] == {
        "name": "files", "mountPath": "/etc/b.txt", "subPath": "file-1", "readOnly": True,
    }  # fmt: skip
    (spec,) = [item["value"] for item in container["env"] if item["name"] == "MODELFLEET_SPEC"]
    assert "files" not in json.loads(spec)


def test_the_pod_template_overrides_everything_but_the_labels(sources: Sources) -> None:
    patch = {
        "metadata": {"labels": {"team": "x", "modelfleet.dev/inferencemodel": "other"}},
        "spec": {"containers": [{"name": "server", "imagePullPolicy": "Always"}]},
    }
    found = template(sources, podTemplate=patch)
    labels = found["metadata"]["labels"]
    assert (labels["team"], labels["modelfleet.dev/inferencemodel"]) == ("x", "m")
    assert found["spec"]["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"engine": "llamacpp", "device": "cuda"}, "EngineUnavailable",
         "engine llamacpp computes on the CPU in the server's images and cannot use device cuda"),
        ({"engine": "torch"}, "EngineUnavailable", "engine torch needs the server image with"),
        ({"device": "cuda:0"}, "EngineUnavailable", "device cuda:0 needs the server image with"),
        ({"vision": True}, "EngineUnavailable", "vision needs the server image with torch"),
        ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, "EngineUnavailable",
         "the resource nvidia.com/gpu needs"),
        ({"device": "mps"}, "EngineUnavailable", "device mps is not available in pods"),
        ({"engine": "vllm"}, "EngineUnavailable", "engine vllm needs the server image with vLLM"),
        ({"engine": "container"}, "InvalidSpec", "engine container needs container.image"),
        ({"podTemplate": {"spec": {"containers": [{}]}}}, "InvalidSpec",
         "podTemplate.spec.containers: an item lacks its merge key 'name'"),
        ({"podTemplate": {"spec": "none"}}, "InvalidSpec",
         "podTemplate does not result in a valid PodSpec"),
        ({"podTemplate": {"spec": {"containers": [
            {"name": "server", "resources": {"limits": {"cpu": "much"}}}]}}},
         "InvalidSpec", "'much' is not a quantity"),
        ({"files": [{"path": f"/{i}", "content": "x" * 99_000} for i in range(3)]}, "InvalidSpec",
         "files: more than 200000 bytes"),
        ({"weights": [{"path": p, "parts": [{"url": f"pvc://{p}/x"}]} for p in "ab"]},
         "InvalidSpec", "weights must be on one claim, not on a, b"),
        ({"model": "org/m", "minReplicas": 3, "maxReplicas": 2}, "InvalidSpec",
         "minReplicas must not exceed maxReplicas"),
        ({"profile": "nowhere"}, "InvalidSpec", "profile 'nowhere' does not exist"),
    ],
)  # fmt: skip
def test_specs_that_cannot_run_have_a_reason(
    sources: Sources, spec: dict[str, Any], reason: str, message: str
) -> None:
    found = template(sources, **spec)
    assert isinstance(found, Problem)
    assert found.reason == reason
    assert message in found.message


def test_ids_are_left_to_a_platform_that_assigns_them(sources: Sources) -> None:
    found = template(sources, environ={"SERVER_USER_IDS": "0"})["spec"]["securityContext"]
    assert found["runAsNonRoot"] is True
    assert not found.keys() & {"runAsUser", "runAsGroup", "fsGroup"}


@pytest.mark.parametrize(
    ("spec", "restricted"), [({}, True), ({"image": "acme/server:1"}, False)], ids=["own", "other"]
)
def test_only_own_images_have_known_architectures(
    sources: Sources, spec: dict[str, Any], restricted: bool
) -> None:
    found = template(sources, environ={"SERVER_ARCHITECTURES": "amd64"}, **spec)["spec"]
    assert ("affinity" in found) is restricted


def test_a_ca_bundle_is_a_part_of_the_version(sources: Sources) -> None:
    before = template(sources)
    found = template(sources, environ={"CA_BUNDLE_CONFIGMAP": "authorities"})
    assert found["metadata"]["labels"] != before["metadata"]["labels"]
    assert found["spec"]["volumes"][-1]["configMap"]["name"] == "authorities"


def test_labels_and_annotations_of_the_resource_reach_the_pods(sources: Sources) -> None:
    """Kueue admits pods by the label of their queue."""
    meta = {
        "namespace": "ns",
        "labels": {"kueue.x-k8s.io/queue-name": "team", "unrelated": "x"},
        "annotations": {"kueue.x-k8s.io/note": "n"},
    }
    spec = {"model": "org/m", "files": [{"path": "/a", "content": "A"}]}
    found = pod_template("m", resolve(spec, sources), settings_of(), meta=meta)
    assert not isinstance(found, Problem)
    labels = found["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team"
    assert "unrelated" not in labels
    assert found["metadata"]["annotations"] == {
        "kueue.x-k8s.io/note": "n", "modelfleet.dev/file-0": "A",
    }  # fmt: skip


def test_metadata_that_is_not_inherited_keeps_the_version(sources: Sources) -> None:
    meta = {"namespace": "ns", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    found = resolve({"model": "org/m"}, sources)
    assert pod_template("m", found, settings_of(), meta=meta) == template(sources)


def test_devices_are_claimed_where_the_cluster_has_them(sources: Sources) -> None:
    spec = {"model": "org/m", "devices": [{"class": "gpu.nvidia.com"}]}
    settings, found = settings_of(SERVER_IMAGE_CUDA="cuda"), resolve(spec, sources)
    refused = pod_template("m", found, settings)
    assert isinstance(refused, Problem)
    assert refused.reason == "DevicesUnavailable"
    made = pod_template("m", found, settings, features=Features(device_claims=True))
    assert not isinstance(made, Problem)
    (server,) = made["spec"]["containers"]
    assert server["resources"]["claims"] == [{"name": "devices"}]
    assert made["spec"]["resourceClaims"][0]["name"] == "devices"
    assert made["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    environ = {item["name"]: item.get("value") for item in server["env"]}
    assert "devices" not in json.loads(str(environ["MODELFLEET_SPEC"]))


def test_the_scheduler_of_spec_or_profile(sources: Sources) -> None:
    assert template(sources, schedulerName="volcano")["spec"]["schedulerName"] == "volcano"
    profile = Profile(scheduler_name="kai")
    assert template(sources, profile)["spec"]["schedulerName"] == "kai"
