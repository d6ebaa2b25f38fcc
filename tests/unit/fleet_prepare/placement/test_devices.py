"""Refusals of devices, before anything is downloaded."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.placement.devices import check

CPU = Machine("cpu", has_torch=True, has_llamacpp=True)
CUDA = Machine("cuda", has_torch=True)
AMD = Machine("cpu", has_torch=True, has_llamacpp=True, has_amd=True)
INTEL = Machine("cpu", has_torch=True, has_llamacpp=True, intel=frozenset({"gpu", "npu"}))
LORA = [{"name": "sql", "source": "file:///sql"}]


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "org/m", **fields})


@pytest.mark.parametrize(
    ("machine", "device"),
    [
        (CPU, "auto"), (CPU, "cpu"), (CUDA, "cpu"), (CUDA, "cuda:3"), (INTEL, "gpu:1"),
        (Machine("mps", has_torch=False), "mps"),
    ],
)  # fmt: skip
def test_devices_of_the_machine(machine: Machine, device: str) -> None:
    check(spec(device=device), machine)


@pytest.mark.parametrize(
    ("machine", "fields", "words"),
    [
        (CPU, {"device": "mps"}, "no Metal"),
        (CPU, {"device": "cuda"}, "no AMD GPU that a ROCm build of torch uses"),
        (CPU, {"device": "cuda", "engine": "torch"}, "no AMD GPU that a ROCm build of torch uses"),
        (CPU, {"device": "cuda", "engine": "llamacpp"}, "no NVIDIA or AMD GPU that this process"),
        (CPU, {"device": "gpu"}, "no Intel GPU that this process may open"),
        (AMD, {"device": "gpu"}, "no Intel GPU that this process may open"),
        (CUDA, {"device": "gpu"}, "NVIDIA's are `cuda`"),
        (CPU, {"device": "npu"}, "no Intel NPU"),
        (INTEL, {"device": "gpu", "engine": "torch"}, "the torch engine does not use it"),
        (INTEL, {"device": "npu"}, "does not batch chats on an NPU"),
        (INTEL, {"device": "gpu", "task": "speech"}, "does not serve task speech"),
        (INTEL, {"device": "gpu", "adapters": LORA}, "the openvino engine loads no adapters"),
        (INTEL, {"device": "gpu", "vision": True}, "the openvino engine does not read images"),
    ],
)
def test_devices_that_cannot_be_used(machine: Machine, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotServe, match=f"requires device {fields['device']}.*{words}"):
        check(spec(**fields), machine)


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino", "vllm"])
def test_an_amd_gpu_is_for_llamacpp_unless_torch_has_rocm(engine: str) -> None:
    check(spec(device="cuda", engine="llamacpp"), AMD)
    with pytest.raises(CannotServe, match="AMD GPU that only the llamacpp engine") as refused:
        check(spec(device="cuda", engine=engine), AMD)
    assert "ROCm build of torch" in str(refused.value.hint)
    assert "engine: llamacpp" in str(refused.value.hint)
