"""The parameters of llama.cpp that all tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.load_error import LoadError

CACHE_TYPES = {
    Dtype.AUTO: xllamacpp.ggml_type.GGML_TYPE_F16,
    Dtype.FLOAT16: xllamacpp.ggml_type.GGML_TYPE_F16,
    Dtype.FLOAT32: xllamacpp.ggml_type.GGML_TYPE_F32,
}


def shared(path: Path, spec: ModelSpec, threads: int) -> Any:
    """The `CommonParams` of a model. Raises LoadError for a dtype that llama.cpp does not have."""
    if spec.dtype not in CACHE_TYPES:
        raise LoadError(
            f"The llamacpp engine does not support dtype {spec.dtype.value}.",
            "A GGUF file has its number format; use dtype auto, float16 or float32.",
        )
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.kv_unified = True
    params.n_gpu_layers = 0
    params.fit_params = False
    params.cache_ram_mib = 0  # a second cache of prompts, of 8 GiB
    params.cache_idle_slots = False
    if spec.dtype is Dtype.FLOAT32:
        # Its kernels for several tokens round to float16, so that a text depends on the batch.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = CACHE_TYPES[spec.dtype]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.offline = True
    params.warmup = False  # the server warms up every engine
    return params
