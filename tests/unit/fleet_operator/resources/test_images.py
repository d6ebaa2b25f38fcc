"""The image of a server, by engine and by the vendor of its accelerator."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_operator.resources.images import Problem, choose_image, with_vllm_image
from support.operator_objects import settings_of

IMAGES = {
    "SERVER_IMAGE_CPU": "cpu", "SERVER_IMAGE_CUDA": "cuda", "SERVER_IMAGE_ROCM": "rocm",
    "SERVER_IMAGE_INTEL": "intel", "VLLM_IMAGE": "vllm", "VLLM_IMAGE_ROCM": "vllm-rocm",
}  # fmt: skip


def image(environ: dict[str, str], **fields: Any) -> str | Problem:
    spec = ModelSpec.model_validate({"model": "org/m", **fields})
    settings = settings_of(**environ)
    return choose_image(with_vllm_image(spec, settings.vllm_images), settings)


def limits(resource: str, amount: int = 1) -> dict[str, Any]:
    return {"resources": {"limits": {resource: amount}}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "cpu"),
        ({"device": "cpu"}, "cpu"),
        ({"engine": "llamacpp"}, "cpu"),
        (limits("nvidia.com/gpu"), "cuda"),
        (limits("nvidia.com/mig-1g.10gb"), "cuda"),
        (limits("nvidia.com/gpu", 0), "cpu"),
        (limits("example.com/fpga"), "cpu"),
        (limits("amd.com/gpu"), "rocm"),
        ({"device": "cuda", **limits("amd.com/gpu")}, "rocm"),
        ({"engine": "torch", **limits("amd.com/gpu")}, "rocm"),
        (limits("gpu.intel.com/xe"), "intel"),
        ({"device": "gpu"}, "intel"),
        ({"device": "npu"}, "intel"),
        ({"devices": [{"class": "gpu.nvidia.com"}]}, "cuda"),
        ({"devices": [{"class": "gpu.amd.com"}]}, "rocm"),
        ({"device": "cuda:1"}, "cuda"),
        ({"engine": "torch"}, "cuda"),
        ({"vision": True}, "cuda"),
        ({"engine": "vllm", **limits("nvidia.com/gpu")}, "vllm"),
        ({"engine": "vllm", **limits("amd.com/gpu")}, "vllm-rocm"),
        ({"engine": "vllm", **limits("gpu.intel.com/xe")}, "vllm"),
        ({"image": "mine", **limits("amd.com/gpu")}, "mine"),
    ],
)
def test_one_image_for_each_vendor(fields: dict[str, Any], expected: str) -> None:
    assert image(IMAGES, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "own"),
        (limits("nvidia.com/gpu"), "own"),
        (limits("amd.com/gpu"), "vllm-rocm"),
        (limits("gpu.intel.com/xe"), "vllm"),
        ({"container": {"image": "theirs"}}, "theirs"),
        ({"image": "theirs"}, "theirs"),
    ],
)
def test_the_server_image_with_vllm_is_for_nvidia_gpus(
    fields: dict[str, Any], expected: str
) -> None:
    assert image({**IMAGES, "SERVER_IMAGE_VLLM": "own"}, engine="vllm", **fields) == expected


def test_an_installation_with_vllms_own_image_only_runs_that() -> None:
    spec = ModelSpec.model_validate({"model": "org/m", "engine": "vllm"})
    assert not spec.is_foreign
    assert with_vllm_image(spec, settings_of(**IMAGES).vllm_images).is_foreign
    own = settings_of(**IMAGES, SERVER_IMAGE_VLLM="own")
    assert not with_vllm_image(spec, own.vllm_images).is_foreign


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (limits("amd.com/gpu"), "the resource amd.com/gpu needs the server image with torch and "
                                "ROCm: SERVER_IMAGE_ROCM is not set"),
        ({"devices": [{"class": "gpu.intel.com"}]}, "the device class gpu.intel.com needs the "
         "server image with Intel's drivers: SERVER_IMAGE_INTEL is not set"),
        ({"device": "gpu:1"}, "device gpu:1 needs the server image with Intel's drivers"),
        ({"engine": "llamacpp", **limits("nvidia.com/gpu")},
         "engine llamacpp computes on the CPU in the server's images and cannot use the resource "
         "nvidia.com/gpu; set `image` to one with a build of xllamacpp for it"),
    ],
)  # fmt: skip
def test_an_image_that_does_not_fit_is_not_used(fields: dict[str, Any], message: str) -> None:
    found = image({"SERVER_IMAGE_CUDA": "cuda"}, **fields)
    assert isinstance(found, Problem)
    assert found.reason == "EngineUnavailable"
    assert message in found.message
