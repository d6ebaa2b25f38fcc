"""Every entry of the catalog becomes a pod, in the image that holds its engine."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.spec import ModelSpec, Task
from fleet_operator.resources.images import Problem
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources, resolve
from support.operator_objects import settings_of

KNOWN = catalog.load()
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
NVIDIA = Profile.model_validate({"device": "cuda", "resources": {"limits": {"nvidia.com/gpu": 1}}})
CUDA_IMAGE = {"SERVER_IMAGE_CUDA": "server:cuda"}
BOTH = {**CUDA_IMAGE, "SERVER_IMAGE_VLLM": "server:vllm"}


def made(spec: dict[str, Any], **environ: str) -> Any:
    found = resolve(spec, Sources(KNOWN, {"nvidia": NVIDIA}, {}))
    assert found.spec is not None, found.problem
    return pod_template("m", found, settings_of(**environ))


@pytest.mark.parametrize("entry", KNOWN.values(), ids=list(KNOWN))
def test_by_id_alone(entry: ModelSpec) -> None:
    """On a CPU without torch, but for those that read images."""
    found = made({"model": entry.model})
    if entry.vision:
        assert isinstance(found, Problem)
        assert found.reason == "EngineUnavailable"
        assert "SERVER_IMAGE_CUDA" in found.message
        found = made({"model": entry.model}, **CUDA_IMAGE)
        assert found["spec"]["tolerations"] == [TOLERATION]
        return
    (server,) = found["spec"]["containers"]
    assert server["image"] == "modelfleet-server:cpu"
    assert "tolerations" not in found["spec"]


@pytest.mark.parametrize("entry", KNOWN.values(), ids=list(KNOWN))
def test_with_vllm_chat_models_in_safetensors_run_on_it_on_a_gpu(entry: ModelSpec) -> None:
    (server,) = made({"model": entry.model, "profile": "nvidia"}, **BOTH)["spec"]["containers"]
    gguf = (entry.source or "").endswith(".gguf")
    on_vllm = entry.task is Task.CHAT and not gguf
    assert server["image"] == ("server:vllm" if on_vllm else "server:cuda")


@pytest.mark.parametrize("entry", KNOWN.values(), ids=list(KNOWN))
def test_a_profile_moves_it_to_a_gpu(entry: ModelSpec) -> None:
    spec = {"model": entry.model, "profile": "nvidia"}
    found = made(spec, **CUDA_IMAGE)
    (server,) = found["spec"]["containers"]
    assert server["image"] == "server:cuda"
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert found["spec"]["tolerations"] == [TOLERATION]
    refused = made(spec)
    assert isinstance(refused, Problem)
    assert refused.reason == "EngineUnavailable"


@pytest.mark.parametrize(
    ("fields", "environ", "limit"),
    [
        ({}, CUDA_IMAGE, "6Gi"),
        # The catalog's limit is that of an engine in one process.
        ({}, BOTH, "17Gi"),
        ({"engine": "vllm"}, BOTH, "17Gi"),
        ({"engine": "torch"}, BOTH, "6Gi"),
        ({"resources": {"limits": {"memory": "9Gi"}}}, BOTH, "9Gi"),
        ({}, {**BOTH, "MEMORY_LIMIT_FACTOR": "0"}, None),
    ],
    ids=str,
)
def test_vllm_has_memory_for_its_two_processes(
    fields: dict[str, Any], environ: dict[str, str], limit: str | None
) -> None:
    found = made({"model": "Qwen/Qwen3-0.6B", "profile": "nvidia", **fields}, **environ)
    (server,) = found["spec"]["containers"]
    assert server["resources"]["limits"].get("memory") == limit
