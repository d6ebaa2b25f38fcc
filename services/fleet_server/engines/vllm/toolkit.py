"""What vLLM does without where no CUDA kernels can be compiled.

FlashInfer and DeepGEMM compile kernels when they are first used, with nvcc, ninja and a C++
compiler. vLLM 0.32 selects some of them without looking for a compiler, and fails at the start. It
has other kernels for the same work, in its package or in Triton, which needs a C compiler only.

Sources: `get_cuda_path` in flashinfer/jit/cpp_ext.py; in vLLM `flashinfer_sampler_supported` and
`fp8_gemm_nt`, and `_resolve_gdn_prefill_backend` of model_executor/layers/mamba/gdn.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DEFAULT_HOME = "/usr/local/cuda"
VARIABLES = ("VLLM_USE_FLASHINFER_SAMPLER", "VLLM_USE_DEEP_GEMM")
"""Set to 0 unless the user has set them: sampling with top_p and top_k, products of FP8 weights."""
ARGUMENTS: Mapping[str, Any] = {"gdn_prefill_backend": "triton"}
"""Of `vllm.AsyncEngineArgs`: the linear attention of Qwen3-Next and Qwen3.5 on prompts."""


def can_compile(environ: Mapping[str, str]) -> bool:
    """Whether FlashInfer is installed, and what it compiles kernels with."""
    return find_spec("flashinfer") is not None and has_compilers(environ)


def has_compilers(environ: Mapping[str, str]) -> bool:
    """Whether there are nvcc, ninja and a C++ compiler, where the libraries look for them."""
    path = environ.get("PATH", "")
    home = environ.get("CUDA_HOME") or environ.get("CUDA_PATH")
    if not home:
        nvcc = shutil.which("nvcc", path=path)
        home = str(Path(nvcc).parent.parent) if nvcc else DEFAULT_HOME
    needed = (f"{home}/bin/nvcc", "ninja", environ.get("CXX") or "c++")
    return all(shutil.which(name, path=path) is not None for name in needed)


def without_kernels(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for the engine's process where no kernels can be compiled."""
    return {name: "0" for name in VARIABLES if name not in environ}
