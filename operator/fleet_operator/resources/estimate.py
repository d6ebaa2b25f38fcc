"""Estimates of a server's memory and disk, from its spec alone. Pure.

Most are upper bounds for limits, not for scheduling: too large an estimate costs nothing, while too
small a one ends a server that works. All sizes are in bytes.
"""

from __future__ import annotations

import re

from fleet_contract.spec import Dtype, Engine, ModelSpec, Task
from fleet_operator.quantity import thousandths
from fleet_operator.resources.images import names_gguf

GIB = 1024**3
PROCESS = GIB
"""Interpreter, libraries, activations of a pass and request bodies."""
VLLM = 5 * GIB
"""vLLM's second process, the compilers that it starts, and CUDA in main memory. Not measured on a
GPU; its build for CPUs takes 2.2 GiB in one process without compilers."""
UNKNOWN_WEIGHTS = 16 * GIB
"""Weights of a model without a number of parameters in its id."""
UNKNOWN_FOREIGN = 64 * GIB
"""As UNKNOWN_WEIGHTS, in an image of another project, which may run large models."""
MOST_PARAMETERS = 10**13
"""Upper bound: an id may contain any number."""
UNKNOWN_FILES = 200 * GIB
"""Files of a model without a number of parameters in its id."""
VECTOR_WIDTH = 4096
"""Dimensions of a cached embedding where the spec has none."""
SCRATCH = 8 * GIB
"""Temporary files of libraries and conversions."""
SAMPLE_BYTES = 16_000 * 4
"""A second of decoded audio: float32 at 16 kHz."""
DECODED_AT_ONCE = 8
"""Recordings that are decoded at the same time, unless `maxConcurrent` is larger."""
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(?:([0-9]+)x)?([0-9]+(?:\.[0-9]+)?)([bm])(?![a-z0-9])")
_SMALL = re.compile(
    r"(?<![a-z0-9])(?:gpt-oss|gguf|awq|gptq|bnb|[a-z]*fp?[48]|int[48]|w[48]a[0-9]+|[48]-?bit|"
    r"q[2-8](?:_[a-z0-9]+)*)(?![a-z0-9])"
)
"""Names of formats with 8 bits for each parameter or less, and of a model in such a one (MXFP4)."""
_SCALE = {"m": 10**6, "b": 10**9}


def parameters(spec: ModelSpec) -> int | None:
    """The largest number of parameters in the names of model and source, such as `0.6B` or `8x7B`;
    None if there is none."""
    return _parameters_in(f"{spec.model} {spec.source or ''}")


def memory(spec: ModelSpec, *, vllm: bool = False) -> int:
    """Weights, caches and working memory; without a GPU, since weights may pass through memory.

    `vllm`: the server is in our image with vLLM.
    """
    count = parameters(spec)
    unknown = UNKNOWN_FOREIGN if spec.is_foreign else UNKNOWN_WEIGHTS
    weights = unknown if count is None else count * _bytes_per_parameter(spec)
    if (draft := spec.speculative.draft) is not None:
        # A draft model is smaller than the model, or it would gain nothing.
        smaller = _parameters_in(draft.source)
        each = _bytes_per_parameter(spec)
        weights += weights if smaller is None else min(weights, smaller * each)
    chat = spec.cache.kv_bytes if spec.task is Task.CHAT else 0
    vectors = 0
    if spec.task is Task.EMBEDDING:
        vectors = spec.cache.embeddings * (spec.dimensions or VECTOR_WIDTH) * 4
    return weights + chat + vectors + PROCESS + (VLLM if vllm else 0)


def files(spec: ModelSpec) -> int:
    """The folder of weights: a download in 32 bits, its conversion, and what a failed one left.

    At least twice the `ephemeral-storage` that the spec requests.
    """
    count = parameters(spec)
    found = UNKNOWN_FILES if count is None else 3 * 4 * count + 4 * GIB
    requested = spec.resources.requests.get("ephemeral-storage")
    return max(found, 2 * thousandths(requested) // 1000 if requested is not None else 0)


def fetched(spec: ModelSpec) -> int | None:
    """Least size of the fetched weights, for scheduling; None if it is unknown.

    8 bits for each parameter, since names need not have the format (FP8), or 4 where those of model
    and source have a small one: a request above the real size keeps servers from nodes that fit.
    """
    count = parameters(spec)
    if count is None:
        return None
    small = _SMALL.search(f"{spec.model} {spec.source or ''}".lower()) is not None
    return count // 2 if small else count


def scratch(spec: ModelSpec) -> int:
    """Temporary files: for speech, the recordings of all requests and those that are decoded."""
    if spec.task is not Task.SPEECH:
        return SCRATCH
    limits = spec.limits
    running = max(limits.max_concurrent or 0, DECODED_AT_ONCE)
    uploads = (limits.max_queue_size + running) * limits.max_audio_bytes
    return SCRATCH + uploads + running * limits.max_audio_seconds * SAMPLE_BYTES


def gibibytes(size: float) -> str:
    """A quantity, rounded up."""
    return f"{-int(-size // GIB)}Gi"


def _parameters_in(text: str) -> int | None:
    found = [
        float(experts or 1) * float(number) * _SCALE[unit]
        for experts, number, unit in _PARAMETERS.findall(text.lower())
    ]
    return int(min(max(found), MOST_PARAMETERS)) if found else None


def _bytes_per_parameter(spec: ModelSpec) -> int:
    """2, of which int8 uses half; 4 where the numbers may be float32."""
    images = spec.vision and spec.engine is not Engine.LLAMACPP and not names_gguf(spec)
    wide = spec.engine is Engine.TORCH or images or spec.dtype is Dtype.FLOAT32
    return 4 if wide or spec.task is not Task.CHAT else 2
