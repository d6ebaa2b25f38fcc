"""Arguments and environment of vLLM's engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.arguments import engine_arguments, environment, sequences
from fleet_server.load_error import LoadError

FOLDER = Path("/models/m")


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", **fields})


def test_memory_is_bounded_on_every_device() -> None:
    on_cpu = engine_arguments(spec(cache={"kvGib": 0.5}), FOLDER, "cpu")
    assert on_cpu["kv_cache_memory_bytes"] == 1 << 29
    on_gpu = engine_arguments(spec(cache={"gpuMemory": 0.4}), FOLDER, "cuda")
    assert on_gpu["gpu_memory_utilization"] == 0.4
    assert "kv_cache_memory_bytes" not in on_gpu
    assert engine_arguments(spec(), FOLDER, "cuda")["gpu_memory_utilization"] == 0.9


def test_the_batch_is_that_of_the_spec() -> None:
    assert sequences(spec(), "cpu") < sequences(spec(), "cuda")
    assert sequences(spec(batching={"maxSize": 7}), "cuda") == 7
    assert sequences(spec(batching={"enabled": False}), "cuda") == 1
    small = spec(batching={"maxSize": 64, "maxTokens": 16})
    found = engine_arguments(small, FOLDER, "cpu")
    assert (found["max_num_seqs"], found["max_num_batched_tokens"]) == (64, 64)


def test_neither_pickles_nor_code_of_the_model_are_loaded() -> None:
    found = engine_arguments(spec(), FOLDER, "cuda")
    assert (found["load_format"], found["trust_remote_code"]) == ("safetensors", False)


def test_fp8_is_a_quantization_and_int8_is_refused() -> None:
    found = engine_arguments(spec(dtype="fp8"), FOLDER, "cuda")
    assert (found["dtype"], found["quantization"]) == ("auto", "fp8")
    with pytest.raises(LoadError, match="int8"):
        engine_arguments(spec(dtype="int8"), FOLDER, "cuda")


def test_only_a_context_length_of_the_spec_is_passed_on() -> None:
    assert "max_model_len" not in engine_arguments(spec(), FOLDER, "cpu")
    assert engine_arguments(spec(contextLength=100), FOLDER, "cpu")["max_model_len"] == 100


def test_threads_of_a_cpu_are_those_of_the_server() -> None:
    assert environment("cpu", 3, {})["OMP_NUM_THREADS"] == "3"
    assert environment("cuda", 3, {}) == {}


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, "1"), ("", "1"), ("4,6", "6"), ("GPU-a,GPU-b", "GPU-b")]
)
def test_a_device_is_one_of_the_visible_ones(visible: str | None, expected: str) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert environment("cuda:1", 1, environ) == {"CUDA_VISIBLE_DEVICES": expected}


def test_a_device_that_is_not_visible_is_refused() -> None:
    with pytest.raises(LoadError, match="lists 1"):
        environment("cuda:1", 1, {"CUDA_VISIBLE_DEVICES": "3"})
