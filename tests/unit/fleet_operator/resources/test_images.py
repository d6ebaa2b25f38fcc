"""The image of a server, by engine and by the vendor of its accelerator."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec import Engine, ModelSpec
from fleet_operator.resources.images import (
    Problem,
    choose_image,
    names_gguf,
    with_vllm_image,
)
from fleet_prepare.choose import choose
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
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
        ({"device": "npu", "task": "embedding"}, "intel"),
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


OWN = {**IMAGES, "SERVER_IMAGE_VLLM": "own"}
GPU = limits("nvidia.com/gpu")
VLLM_MACHINE = Machine("cuda", has_torch=True, has_llamacpp=True, has_vllm=True, vllm_cuda=True)
NAMES = frozenset({"config.json", "model.safetensors", "tokenizer.json"})
VL = {"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl"}
LORA = {"name": "sql", "source": "hf://org/sql"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"device": "cuda"},
        {"device": "cuda:1"},
        {"device": "cpu"},
        {"vision": True},
        {"adapters": [LORA]},
        {"dtype": "fp8"},
        {"dtype": "int8"},
        {"quantization": "none"},
        {"quantization": "int8"},
        {"cache": {"type": "q8_0"}},
        {"speculative": {"promptLookup": True}},
        {"task": "embedding"},
        {"task": "rerank"},
        {"task": "speech"},
        {"handler": "mine.models:Chat"},
        {"engine": "torch"},
        {"engine": "vllm"},
        {"source": "hf://org/m-GGUF@main/m-Q4_K_M.gguf"},
        {"source": "hf://org/m-GGUF"},
    ],
    ids=str,
)
def test_a_model_is_in_the_image_with_vllm_where_its_server_chooses_vllm(
    fields: dict[str, Any],
) -> None:
    """Compared with the choice of the server, on a GPU with vLLM and everything else."""
    spec = ModelSpec.model_validate({"model": "org/m", **fields})
    names = frozenset({"m-Q4_K_M.gguf"}) if names_gguf(spec) else NAMES
    try:
        engine = choose(spec, ModelFiles(names, {"config.json": VL}), VLLM_MACHINE).engine
    except CannotServe:
        engine = None
    assert (image(OWN, **GPU, **fields) == "own") is (engine is Engine.VLLM)


@pytest.mark.parametrize(
    ("environ", "fields", "expected"),
    [
        ({"SERVER_IMAGE_VLLM": "own"}, GPU, "own"),
        ({"SERVER_IMAGE_CUDA": "cuda"}, GPU, "cuda"),
        # API and limits of vLLM's own server are others: a model has to name it.
        ({"VLLM_IMAGE": "vllm", "SERVER_IMAGE_CUDA": "cuda"}, GPU, "cuda"),
        (OWN, {"devices": [{"class": "gpu.nvidia.com"}]}, "own"),
        (OWN, limits("nvidia.com/mig-1g.10gb"), "own"),
        (OWN, {**GPU, "image": "mine"}, "mine"),
        (OWN, limits("amd.com/gpu"), "rocm"),
        (OWN, limits("gpu.intel.com/xe"), "intel"),
        (OWN, {}, "cpu"),
        # Without a GPU torch computes on the CPU.
        (OWN, {"vision": True}, "cuda"),
        # vLLM would take most of a GPU that other servers use as well.
        (OWN, limits("nvidia.com/gpu.shared"), "cuda"),
    ],
    ids=str,
)
def test_auto_takes_the_image_with_vllm_for_chat_on_nvidia_gpus(
    environ: dict[str, str], fields: dict[str, Any], expected: str
) -> None:
    assert image(environ, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "hf://org/m@main/m-Q4_K_M.gguf"}, True),
        ({"source": "hf://org/m-GGUF@main"}, True),
        ({"model": "org/m-gguf"}, True),
        ({"model": "org/m-GGUF", "source": "hf://org/m"}, False),
        ({"source": "pvc://claim/ggufs/m"}, False),
        ({"weights": [{"path": "m.gguf", "parts": [{"url": "pvc://c/m.gguf"}]}]}, True),
        ({"model": "m-GGUF", "weights": [
            {"path": "model.safetensors", "parts": [{"url": "pvc://c/m"}]}]}, False),
        ({}, False),
    ],
    ids=str,
)  # fmt: skip
def test_gguf_is_recognised_by_names(fields: dict[str, Any], expected: bool) -> None:
    spec = ModelSpec.model_validate({"model": "org/m", **fields})
    assert names_gguf(spec) is expected
    # llama.cpp reads the images of a GGUF model on a CPU.
    assert image(IMAGES, **fields, vision=True) == ("cpu" if expected else "cuda")


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
    assert message in problem({"SERVER_IMAGE_CUDA": "cuda"}, **fields)


def problem(environ: dict[str, str], **fields: Any) -> str:
    found = image(environ, **fields)
    assert isinstance(found, Problem)
    assert found.reason == "EngineUnavailable"
    return found.message


def test_a_missing_image_is_named_with_the_others_that_fit() -> None:
    assert problem({}, **GPU) == (
        "the resource nvidia.com/gpu needs the server image with vLLM or torch: SERVER_IMAGE_VLLM "
        "and SERVER_IMAGE_CUDA are not set"
    )
    message = problem({"SERVER_IMAGE_VLLM": "own"}, task="rerank", **GPU)
    assert message.endswith("the server image with torch: SERVER_IMAGE_CUDA is not set")


ALL = {**OWN, "SERVER_IMAGE_INTEL": "intel"}
INTEL_GPU, AMD_GPU = limits("gpu.intel.com/xe"), limits("amd.com/gpu")
GGUF = "hf://org/m-GGUF@main/m-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"engine": "ctranslate2"}, "ctranslate2 engine does not serve task chat"),
        ({"engine": "torch", "device": "gpu"}, "device gpu: the torch engine does not use it"),
        ({"engine": "openvino", "device": "cuda"}, "the openvino engine does not use it"),
        ({"task": "speech", "device": "npu"}, "the openvino engine does not serve task speech"),
        ({"task": "speech", **INTEL_GPU},
         "does not serve task speech. It requests gpu.intel.com/xe: remove that, or set "
         "`device: cpu`."),
        (limits("npu.intel.com/accel"), "does not batch chats on an NPU. It requests npu.intel"),
        ({"vision": True, **INTEL_GPU}, "the openvino engine does not read images"),
        ({"adapters": [LORA], **INTEL_GPU}, "the openvino engine loads no adapters"),
        ({"device": "gpu", **GPU}, "device gpu is not one of nvidia.com/gpu, which the model"),
        ({"device": "cuda", **INTEL_GPU}, "device cuda is not one of gpu.intel.com/xe"),
        ({"engine": "torch", "speculative": {"promptLookup": True}}, "Engines that do: openvino"),
        ({"speculative": {"promptLookup": True}, **GPU}, "torch engine has no speculative.prompt"),
        ({"cache": {"type": "q8_0"}, **AMD_GPU}, "the torch engine has no cache.type q8_0"),
        ({"quantization": "int8", **GPU}, "torch loads files as they are"),
        ({"adapters": [LORA], **limits("nvidia.com/gpu.shared")}, "torch engine loads no adapters"),
        ({"dtype": "int8"}, "does not compute in int8"),
        ({"dtype": "float16", "task": "speech"}, "does not compute in float16 on device cpu"),
        ({"engine": "openvino", "env": {"MODEL_DEVICE": "cuda"}}, "does not use it"),
        ({"engine": "ctranslate2", "task": "speech", "source": GGUF}, "reads no GGUF"),
        ({"engine": "vllm", "source": GGUF, **GPU}, "the vllm engine reads no GGUF"),
        ({"engine": "vllm", "cache": {"type": "q8_0"}, **GPU}, "vllm engine has no cache.type"),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_server_runs_gets_no_pod(fields: dict[str, Any], words: str) -> None:
    found = image(ALL, **fields)
    assert isinstance(found, Problem)
    assert found.reason == "InvalidSpec"
    assert words.lower() in found.message.lower()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"speculative": {"draft": {"source": "file:///d.gguf"}}}, "cpu"),
        ({"cache": {"type": "q8_0"}}, "cpu"),
        ({"quantization": "int4"}, "cpu"),
        ({"dtype": "float16"}, "cpu"),  # of a GGUF on llamacpp
        ({"adapters": [LORA], "source": GGUF, **GPU}, "cuda"),
        ({"task": "speech", "quantization": "int8", **GPU}, "cuda"),
        ({"task": "speech", "device": "cpu", **INTEL_GPU}, "cpu"),
        ({"device": "cpu", **GPU}, "cpu"),
        ({"engine": "torch", "device": "cpu", **INTEL_GPU}, "cuda"),
        ({"engine": "openvino", **GPU}, "cuda"),
        ({"handler": "mine.models:Chat", "dtype": "int8"}, "cpu"),
        # What an image of the spec has is not known.
        ({"engine": "torch", "device": "gpu", "image": "mine"}, "mine"),
        ({"engine": "ctranslate2", "image": "mine"}, "mine"),
    ],
    ids=str,
)
def test_what_some_server_runs_is_not_refused(fields: dict[str, Any], expected: str) -> None:
    assert image(ALL, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (AMD_GPU, "the resource amd.com/gpu needs an image of vLLM's own server for it"),
        (INTEL_GPU, "VLLM_IMAGE_INTEL and VLLM_IMAGE are not set"),
        ({"device": "cpu"}, "engine vllm computes on GPUs in the server's images"),
        ({"task": "embedding", **GPU}, "serves task embedding in vLLM's own server only"),
    ],
    ids=str,
)
def test_the_server_image_with_vllm_is_not_used_for_what_it_cannot_do(
    fields: dict[str, Any], words: str
) -> None:
    assert words in problem({"SERVER_IMAGE_VLLM": "own"}, engine="vllm", **fields)


def test_vllms_own_server_has_other_tasks() -> None:
    assert image(OWN, engine="vllm", task="embedding", **GPU) == "vllm"


def test_adapters_on_a_gpu_need_the_image_with_vllm() -> None:
    message = (
        "adapters on the resource nvidia.com/gpu need the server image with vLLM: SERVER_IMAGE"
    )
    assert message in problem(IMAGES, adapters=[LORA], **GPU)


def test_images_of_a_gguf_need_no_torch() -> None:
    assert "engine: llamacpp" in problem({}, vision=True)
    assert image({**IMAGES, "SERVER_IMAGE_CUDA": ""}, vision=True, engine="llamacpp") == "cpu"
