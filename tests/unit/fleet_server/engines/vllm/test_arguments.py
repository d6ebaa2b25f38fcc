"""Arguments and environment of vLLM's engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.vllm.arguments import engine_arguments, environment, sequences
from fleet_server.load_error import LoadError

FOLDER = Path("/models/m")


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", **fields})


def arguments(spec: ModelSpec, device: str, dtype: Dtype = Dtype.AUTO) -> dict[str, Any]:
    return engine_arguments(spec, FOLDER, device, dtype=dtype)


def test_memory_is_bounded_on_every_device() -> None:
    on_cpu = arguments(spec(cache={"kvGib": 0.5}), "cpu")
    assert on_cpu["kv_cache_memory_bytes"] == 1 << 29
    on_gpu = arguments(spec(cache={"gpuMemory": 0.4}), "cuda")
    assert on_gpu["gpu_memory_utilization"] == 0.4
    assert "kv_cache_memory_bytes" not in on_gpu
    assert arguments(spec(), "cuda")["gpu_memory_utilization"] == 0.9


def test_the_batch_is_that_of_the_spec() -> None:
    assert sequences(spec(), "cpu") < sequences(spec(), "cuda")
    assert sequences(spec(batching={"maxSize": 7}), "cuda") == 7
    assert sequences(spec(batching={"enabled": False}), "cuda") == 1
    small = spec(batching={"maxSize": 64, "maxTokens": 16})
    found = arguments(small, "cpu")
    assert (found["max_num_seqs"], found["max_num_batched_tokens"]) == (64, 64)


def test_neither_pickles_nor_code_of_the_model_are_loaded() -> None:
    found = arguments(spec(), "cuda")
    assert (found["load_format"], found["trust_remote_code"]) == ("safetensors", False)


def test_fp8_is_a_quantization() -> None:
    found = arguments(spec(), "cuda", Dtype.FP8)
    assert (found["dtype"], found["quantization"]) == ("auto", "fp8")


@pytest.mark.parametrize("dtype", [Dtype.AUTO, Dtype.BFLOAT16, Dtype.FLOAT32])
def test_the_number_format_is_that_of_the_choice(dtype: Dtype) -> None:
    found = arguments(spec(), "cpu", dtype)
    assert found["dtype"] == dtype.value
    assert "quantization" not in found


def test_only_a_context_length_of_the_spec_is_passed_on() -> None:
    assert "max_model_len" not in arguments(spec(), "cpu")
    assert arguments(spec(contextLength=100), "cpu")["max_model_len"] == 100


def test_threads_of_a_cpu_are_those_of_the_server() -> None:
    assert environment("cpu", 3, {})["OMP_NUM_THREADS"] == "3"
    assert environment("cuda", 3, {}) == {}


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, "1"), ("", "1"), ("4,6", "6"), ("GPU-a,GPU-b", "GPU-b")]
)
def test_a_device_is_one_of_the_visible_ones(visible: str | None, expected: str) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert environment("cuda:1", 1, environ) == {"CUDA_VISIBLE_DEVICES": expected}


@pytest.mark.parametrize("cuda", [None, "", "2,3", "0,1"])
def test_both_variables_of_rocm_name_the_same_device(cuda: str | None) -> None:
    """vLLM refuses different values; HIP's is the one that counts."""
    environ = {"HIP_VISIBLE_DEVICES": "2,3"}
    if cuda is not None:
        environ["CUDA_VISIBLE_DEVICES"] = cuda
    both = {"HIP_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "3"}
    assert environment("cuda:1", 1, environ) == both
    empty = {"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "4,6"}
    assert environment("cuda:1", 1, empty) == {"CUDA_VISIBLE_DEVICES": "6"}


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_a_device_that_is_not_visible_is_refused(name: str) -> None:
    with pytest.raises(LoadError, match=f"{name} lists 1"):
        environment("cuda:1", 1, {name: "3"})
