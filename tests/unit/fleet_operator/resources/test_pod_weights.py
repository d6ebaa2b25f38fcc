"""Where a pod has its weights: claims, caches, images and folders of the node."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.features import Features
from fleet_operator.resources.images import Problem
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.profiles import ModelCache, Profile
from fleet_operator.resources.resolve import Sources, resolve
from support.operator_objects import settings_of
from support.pod_templates import template


def test_volumes_on_the_nodes_disk_have_a_size_limit(sources: Sources) -> None:
    patch = {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]}}
    limits = {"maxQueueSize": 0, "maxAudioBytes": 1, "maxAudioSeconds": 1}
    for fields, tmp, models in (
        ({"model": "org/m-1B"}, "8Gi", "16Gi"),
        ({"model": "org/m-1B", "task": "speech", "limits": limits}, "9Gi", "16Gi"),
        ({"model": "org/m-1B", "podTemplate": patch}, "1Gi", "16Gi"),
        ({"model": "BAAI/bge-m3"}, "8Gi", "200Gi"),
    ):
        volumes = template(sources, **fields)["spec"]["volumes"]
        assert [one["emptyDir"]["sizeLimit"] for one in volumes] == [tmp, models]


def test_weights_of_a_claim_and_a_cache(sources: Sources) -> None:
    profile = Profile(model_cache=ModelCache(size="10Gi"))
    found = template(sources, profile, source="pvc://weights/llama/file.gguf")["spec"]
    assert found["volumes"][1:] == [
        {"name": "models", "persistentVolumeClaim": {"claimName": "m-cache"}},
        {"name": "weights", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
    ]
    mounts = found["containers"][0]["volumeMounts"]
    assert mounts[-1] == {"name": "weights", "mountPath": "/weights", "readOnly": True}
    shared = Profile(model_cache=ModelCache(claim="all-models"))
    found = template(sources, shared)["spec"]
    assert found["volumes"][1]["persistentVolumeClaim"] == {"claimName": "all-models"}


def test_ephemeral_storage_is_requested_without_a_cache_volume(sources: Sources) -> None:
    """From the catalog; requests of a manifest are always kept."""
    cache = Profile(model_cache=ModelCache(size="10Gi"))

    def storage(default: Profile | None, **spec: Any) -> Any:
        (server,) = template(sources, default, model="BAAI/bge-m3", **spec)["spec"]["containers"]
        return server["resources"]["requests"].get("ephemeral-storage")

    own = {"requests": {"ephemeral-storage": "9Gi"}}
    assert storage(None) == "4Gi"
    assert storage(cache) is None
    assert (storage(None, resources=own), storage(cache, resources=own)) == ("9Gi", "9Gi")


@pytest.mark.parametrize(
    ("spec", "requested"),
    [
        ({"source": "hf://org/m-7B@main"}, "6676Mi"),
        ({"source": "hf://org/m@main/m-7B-q4.gguf"}, "3338Mi"),
        ({"source": "hf://org/m-70B-AWQ"}, "33379Mi"),
        ({"source": "hf://openai/gpt-oss-120b"}, "57221Mi"),
        ({"source": "hf://org/m@main"}, None),  # of unknown size
        ({"source": "pvc://weights/m-7B"}, None),
        ({"source": "file:///models/m-7B"}, None),
        ({"source": "hf://org/m-7B", "resources": {"requests": {"ephemeral-storage": "1Gi"}}},
         "1Gi"),
        ({"source": "hf://org/m-7B", "resources": {"limits": {"ephemeral-storage": "9Gi"}}}, None),
        ({"source": "hf://org/m-7B", "podTemplate": {"spec": {
            "volumes": [{"name": "models", "emptyDir": {"medium": "Memory"}}]}}}, None),
    ],
)  # fmt: skip
def test_fetched_weights_outside_of_the_catalog_request_an_estimate(
    sources: Sources, spec: dict[str, Any], requested: str | None
) -> None:
    def found(profile: Profile | None) -> Any:
        whole = template(sources, profile, **{"model": "org/m", "task": "chat", **spec})
        (server,) = whole["spec"]["containers"]
        return (server["resources"].get("requests") or {}).get("ephemeral-storage")

    assert found(None) == requested
    if "resources" not in spec:
        assert found(Profile(model_cache=ModelCache(size="10Gi"))) is None


def test_an_image_of_weights_is_mounted(sources: Sources) -> None:
    spec = {"model": "org/m", "source": "oci://ghcr.io/org/m:1/models"}
    features = Features(image_volumes=True)
    made = pod_template("m", resolve(spec, sources), settings_of(), features=features)
    assert not isinstance(made, Problem)
    assert made["spec"]["volumes"][-1] == {
        "name": "image", "image": {"reference": "ghcr.io/org/m:1", "pullPolicy": "IfNotPresent"},
    }  # fmt: skip
    assert made["spec"]["containers"][0]["volumeMounts"][-1] == {
        "name": "image", "mountPath": "/modelfleet-image", "readOnly": True,
    }  # fmt: skip
    wrong = resolve({**spec, "source": "oci://ghcr.io/org/m"}, sources)
    refused = pod_template("m", wrong, settings_of(), features=features)
    assert isinstance(refused, Problem)
    assert "tag or a digest" in refused.message


def test_an_image_is_downloaded_where_it_cannot_be_mounted(sources: Sources) -> None:
    profile = Profile(registry_secret="pull")
    address = "oci://ghcr.io/org/m:1/models"
    made = template(sources, profile, {"IMAGE_PULL_SECRETS": "other"}, source=address)
    (server,) = made["spec"]["containers"]
    assert {volume["name"] for volume in made["spec"]["volumes"]} == {"tmp", "models"}
    assert "other" not in str(server)
    reference = {"name": "pull", "key": ".dockerconfigjson", "optional": True}
    assert server["env"][-1] == {
        "name": "DOCKER_AUTH_CONFIG", "valueFrom": {"secretKeyRef": reference},
    }  # fmt: skip
    assert "DOCKER_AUTH_CONFIG" not in str(template(sources, source=address))
    assert template(sources, profile) == template(sources)
    own = template(sources, profile, source=address, env={"DOCKER_AUTH_CONFIG": "{}"})
    assert "secretKeyRef" not in str(own)


@pytest.mark.parametrize(
    "spec",
    [
        {"source": "oci://r/m:1", "engine": "vllm", "container": {"image": "vllm:1"}},
        {"weights": [{"path": "m.gguf", "parts": [{"url": "oci://r/m:1/m.gguf"}]}]},
    ],
)
def test_what_needs_image_volumes(sources: Sources, spec: dict[str, Any]) -> None:
    refused = template(sources, Profile(registry_secret="pull"), **spec)
    assert isinstance(refused, Problem)
    assert refused.reason == "ImageVolumesUnavailable"


def test_vllm_reads_the_mounted_image(sources: Sources) -> None:
    spec = {"model": "org/m", "source": "oci://ghcr.io/org/m:1/x", "engine": "vllm",
            "container": {"image": "vllm:1"}}  # fmt: skip
    features = Features(image_volumes=True)
    made = pod_template("m", resolve(spec, sources), settings_of(), features=features)
    assert not isinstance(made, Problem)
    assert made["spec"]["containers"][0]["args"][0] == "/modelfleet-image/x"


def on_node(sources: Sources, **spec: Any) -> Any:
    """The PodSpec with a cache on the node, of a model in the namespace `ns`."""
    profile = Profile(model_cache=ModelCache(node=True, size="50Gi"))
    known = Sources(sources.catalog, {"default": profile}, {})
    found = resolve({"model": "org/m", **spec}, known)
    made = pod_template("m", found, settings_of(), meta={"namespace": "ns"})
    assert not isinstance(made, Problem)
    return made["spec"]


def test_a_cache_on_the_node(sources: Sources) -> None:
    pod = on_node(sources)
    assert pod["volumes"][1] == {
        "name": "models",
        "hostPath": {"path": "/var/lib/modelfleet/ns", "type": "DirectoryOrCreate"},
    }
    (first,) = pod["initContainers"]
    assert first["command"] == ["chown", "65532:65532", "/models"]
    assert first["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
    (server,) = pod["containers"]
    environ = {item["name"]: item.get("value") for item in server["env"]}
    assert environ["MODELS_DIR_LIMIT"] == str(50 * 1024**3)
    catalog_entry = on_node(sources, model="BAAI/bge-m3")["containers"][0]
    assert "ephemeral-storage" not in catalog_entry["resources"]["requests"]


def test_images_of_other_projects_do_not_share_the_cache_on_the_node(sources: Sources) -> None:
    pod = on_node(sources, engine="container", container={"image": "x"})
    assert "emptyDir" in pod["volumes"][1]
    assert "initContainers" not in pod
