"""The DaemonSet that fills node caches."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.names import ANNOTATION_APPLIED
from fleet_operator.resources.prefetch.daemon_set import daemon_set, may_manage, suffix
from fleet_operator.resources.profiles import ModelCache, Profile, parse
from support.operator_objects import model, settings_of

SECRET = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}}
GIB = 1 << 30


def made(
    profile: dict[str, Any] | None = None,
    name: str = "l4",
    memory: int = GIB,
    owners: int = 1,
    cache: ModelCache | None = None,
    **environ: str,
) -> Any:
    return daemon_set(
        "ns", name, Profile.model_validate(profile or {}), cache or ModelCache(node=True), "LIST",
        [SECRET], memory, [model(f"m{i}", f"uid-{i}") for i in range(owners)],
        settings_of(**environ),
    )  # fmt: skip


def pod(*arguments: Any, **options: Any) -> Any:
    return made(*arguments, **options)["spec"]["template"]["spec"]


def fetch(*arguments: Any, **options: Any) -> Any:
    return pod(*arguments, **options)["initContainers"][1]


def test_the_whole() -> None:
    found = made(cache=ModelCache(node=True, path="/data", size="10Gi"))
    meta = found["metadata"]
    assert (found["kind"], meta["namespace"], meta["name"]) == (
        "DaemonSet", "ns", "modelfleet-prefetch-l4",
    )  # fmt: skip
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("InferenceModel", "uid-0", False)
    template = found["spec"]["template"]
    assert template["metadata"]["annotations"]["modelfleet.dev/models"] == "LIST"
    labels = template["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert "modelfleet.dev/inferencemodel" not in labels
    spec = template["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    assert volumes["models"]["hostPath"] == {"path": "/data/ns", "type": "DirectoryOrCreate"}
    permissions, fetching = spec["initContainers"]
    assert permissions["command"][0] == "chown"
    assert fetching["command"][:3] == ["modelfleet", "pull", "--no-evict"]
    environ = {one["name"]: one.get("value") for one in fetching["env"]}
    assert environ["MODELS_DIR_LIMIT"] == str(10 * GIB)
    assert fetching["env"][-1] == SECRET
    (waiting,) = spec["containers"]
    assert "HF_TOKEN" not in str(waiting)
    assert spec["automountServiceAccountToken"] is False
    for one in (fetching, waiting):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_it_runs_where_the_servers_of_the_profile_run() -> None:
    profile = {
        "nodeSelector": {"gpu": "l4"},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "env": {"HF_ENDPOINT": "https://mirror"},
        "envFrom": [{"configMapRef": {"name": "proxies"}}],
        "podTemplate": {"spec": {"tolerations": [{"key": "team"}], "volumes": [{"name": "x"}]}},
    }
    found = pod(profile, SERVER_IMAGE_CUDA="cuda:1", SERVER_ARCHITECTURES="amd64",
                CA_BUNDLE_CONFIGMAP="ca")  # fmt: skip
    assert found["nodeSelector"] == {"gpu": "l4"}
    assert [one["key"] for one in found["tolerations"]] == ["team", "nvidia.com/gpu"]
    assert "amd64" in str(found["affinity"])
    assert "priorityClassName" not in found
    assert "runtimeClassName" not in found
    assert "x" not in [one["name"] for one in found["volumes"]]
    assert found["initContainers"][1]["image"] == "cuda:1"
    assert "nvidia.com/gpu" not in str(found["initContainers"][1]["resources"])
    environ = {one["name"]: one.get("value") for one in found["initContainers"][1]["env"]}
    assert environ["HF_ENDPOINT"] == "https://mirror"
    assert environ["SSL_CERT_FILE"] == "/etc/modelfleet-ca/ca.crt"
    assert found["initContainers"][1]["envFrom"] == [{"configMapRef": {"name": "proxies"}}]


def test_the_image() -> None:
    assert fetch(SERVER_IMAGE_CPU="cpu:1")["image"] == "cpu:1"
    gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    assert fetch(gpu, SERVER_IMAGE_CPU="cpu:1")["image"] == "cpu:1"  # no other is configured
    both = {"SERVER_IMAGE_CUDA": "cuda:1", "SERVER_IMAGE_VLLM": "vllm:1"}
    assert fetch(gpu, **both)["image"] == "vllm:1"  # that of its chat models
    assert fetch({"image": "own:1"})["image"] == "own:1"


def test_the_memory_of_conversions_is_bounded() -> None:
    assert fetch()["resources"]["limits"] == {"memory": "2Gi"}
    assert fetch(memory=3 * GIB)["resources"]["limits"] == {"memory": "6Gi"}
    assert "limits" not in fetch(MEMORY_LIMIT_FACTOR="0")["resources"]


def test_owners_are_bounded() -> None:
    assert len(made(owners=30)["metadata"]["ownerReferences"]) == 20


@pytest.mark.parametrize("name", ["Big_GPU", "x" * 80, "-", "a.b"])
def test_names_of_profiles_that_are_no_object_names(name: str) -> None:
    found = suffix(name)
    assert len(found) <= 40
    assert found.strip("-") == found
    assert found.replace("-", "").isalnum()
    assert found == found.lower()
    assert found not in (suffix(f"{name}2"), suffix("a-b"))
    assert may_manage(made(name=name))


def test_only_its_own_are_managed() -> None:
    found = made()
    assert may_manage(found)
    assert not may_manage({**found, "metadata": {**found["metadata"], "name": "other"}})
    assert not may_manage({**found, "metadata": {**found["metadata"], "labels": {}}})
    annotations = {**found["metadata"]["annotations"]}
    del annotations[ANNOTATION_APPLIED]
    copy = {**found["metadata"], "annotations": annotations}
    assert not may_manage({**found, "metadata": copy})


def test_prefetching_needs_a_node_cache() -> None:
    _, problems = parse({"a": "modelCache: {prefetch: true, size: 1Gi}"})
    assert problems == {
        "a": "profile 'a': modelCache: Value error, modelCache.prefetch needs modelCache.node"
    }
