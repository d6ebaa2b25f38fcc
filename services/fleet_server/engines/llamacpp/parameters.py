"""The parameters of llama.cpp that all tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.spec import Dtype, ModelSpec
from fleet_contract.spec_parts import CacheType
from fleet_server.engines.llamacpp import sleep
from fleet_server.load_error import LoadError

CACHE_TYPES = {
    CacheType.AUTO: xllamacpp.ggml_type.GGML_TYPE_F16,
    CacheType.FLOAT16: xllamacpp.ggml_type.GGML_TYPE_F16,
    CacheType.Q8_0: xllamacpp.ggml_type.GGML_TYPE_Q8_0,
    CacheType.Q4_0: xllamacpp.ggml_type.GGML_TYPE_Q4_0,
}

CHECKPOINTS = 2
"""Copies of a sliding window, or of a recurrent state, that a slot keeps in memory besides its
cache: llama.cpp makes them close to the end of a prompt and a pass before it, and a conversation
goes on from one of them. Its default is 32, and each slice makes some: 116 MiB each of Gemma 3
4B."""


def shared(path: Path, spec: ModelSpec, threads: int) -> Any:
    """The `CommonParams` of a model, whose `dtype` is `auto`, float16, or float32 if it
    has no `cache.type`. Raises LoadError for a device that this build lacks."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.kv_unified = True
    _place(params, spec)
    params.fit_params = False
    params.cache_ram_mib = 0  # a second cache of prompts, of 8 GiB
    params.cache_idle_slots = False
    params.n_ctx_checkpoints = CHECKPOINTS
    if spec.dtype is Dtype.FLOAT32:
        # The kernels of flash attention for several tokens round to float16, so that a text depends
        # on the batch.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = _cache_type(spec)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.sleep_idle_seconds = sleep.seconds_of(spec.cache.release_after)
    params.offline = True
    params.warmup = False  # the server warms up every engine
    return params


def _place(params: Any, spec: ModelSpec) -> None:
    """Put all layers on the device of the spec. Raises LoadError if this build lacks it."""
    kind, _, number = spec.device.partition(":")
    if kind in ("auto", "cpu"):
        params.n_gpu_layers = 0
        params.no_kv_offload = params.no_op_offload = True
        return
    kinds = xllamacpp.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    found = [each for each in xllamacpp.get_device_info() if each["type"] in gpus]
    index = int(number or 0)
    if index >= len(found):
        raise LoadError(
            f"{spec.model} requires device {spec.device}; the installed build of xllamacpp finds "
            f"{len(found)} GPUs.",
            "Install its build for CUDA, ROCm or Vulkan (docs/adding-a-model.md), or set device "
            "(MODEL_DEVICE) to cpu.",
        )
    params.n_gpu_layers = -1
    params.main_gpu = index
    params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE


def _cache_type(spec: ModelSpec) -> Any:
    if spec.dtype is Dtype.FLOAT32:
        return xllamacpp.ggml_type.GGML_TYPE_F32
    return CACHE_TYPES[spec.cache.type]
