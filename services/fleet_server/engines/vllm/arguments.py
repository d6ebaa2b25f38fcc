"""Arguments and environment of vLLM's engine for a model; pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.load_error import LoadError

SEQUENCES = {"cpu": 32}
MORE_SEQUENCES = 256
"""Sequences in the batch unless `batching.maxSize` is set; MORE_SEQUENCES on GPUs."""
BATCHED_TOKENS = {"cpu": 2048}
MORE_BATCHED_TOKENS = 8192
"""Maximum number of tokens of a step, which running sequences wait for."""
CUDA, HIP = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
MAX_LOGPROBS = 20
"""Of a token; as many as OpenAI's API accepts."""


def sequences(spec: ModelSpec, device: str) -> int:
    """Maximum number of sequences in the batch."""
    if not spec.batching.enabled:
        return 1
    return spec.batching.max_size or SEQUENCES.get(device, MORE_SEQUENCES)


def engine_arguments(
    spec: ModelSpec, folder: Path, device: str, *, dtype: Dtype, seed: int = 0
) -> dict[str, Any]:
    """Keyword arguments of `vllm.AsyncEngineArgs`; `device` is `cpu` or `cuda`, `dtype` the number
    format to compute in. Requests without a seed of their own use `seed`."""
    at_once = sequences(spec, device)
    tokens = BATCHED_TOKENS.get(device, MORE_BATCHED_TOKENS)
    found: dict[str, Any] = {
        "model": str(folder),
        "served_model_name": [spec.model],
        "dtype": (Dtype.AUTO if dtype is Dtype.FP8 else dtype).value,
        "max_num_seqs": at_once,
        # vLLM wants a token for each sequence.
        "max_num_batched_tokens": max(at_once, min(tokens, spec.batching.max_tokens)),
        "enable_prefix_caching": spec.cache.prefix,
        "max_logprobs": MAX_LOGPROBS,
        # Defaults are those of the spec, not of generation_config.json.
        "generation_config": "vllm",
        "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "trust_remote_code": False,
        # By default vLLM opens pickles where there are no safetensors.
        "load_format": "safetensors",
        "seed": seed,
    }
    if spec.context_length is not None:
        found["max_model_len"] = spec.context_length
    if dtype is Dtype.FP8:
        found["quantization"] = "fp8"
    if device == "cpu":
        # TorchInductor needs a C++ compiler, and a minute at each first start.
        found["enforce_eager"] = True
        found["kv_cache_memory_bytes"] = spec.cache.kv_bytes
    else:
        found["gpu_memory_utilization"] = spec.cache.gpu_memory
    return found


def environment(device: str, threads: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for the engine's process; `device` is that of the spec, such as `cuda:1`."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return {
            # One process for scheduler and model instead of two.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # Threads are not bound to cores: other models of the machine use them too.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
            # Also of small functions: compiling one with TorchInductor takes a minute.
            "TORCH_COMPILE_DISABLE": "1",
        }
    if not number:
        return {}
    # ROCm has both variables, and vLLM refuses different values.
    name = HIP if environ.get(HIP) else CUDA
    visible = [each for each in environ.get(name, "").split(",") if each]
    index = int(number)
    if visible and index >= len(visible):
        raise LoadError(f"Device {device} does not exist: {name} lists {len(visible)}.")
    return dict.fromkeys({CUDA, name}, visible[index] if visible else number)
