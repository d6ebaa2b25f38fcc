"""Tables of engines: their tasks, devices, number formats and options."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_contract.spec import Dtype, Engine, Quantization, Task

CPU_ENGINES = (Engine.OPENVINO, Engine.CTRANSLATE2, Engine.LLAMACPP)
"""Those without torch, in the order of choice: llama.cpp gets the GGUF files that OpenVINO does not
read."""
TASKS: Mapping[Engine, tuple[Task, ...]] = {
    Engine.OPENVINO: (Task.CHAT, Task.EMBEDDING, Task.RERANK),
    Engine.CTRANSLATE2: (Task.SPEECH,),
    Engine.LLAMACPP: (Task.CHAT, Task.EMBEDDING, Task.RERANK),
    Engine.VLLM: (Task.CHAT,),
    Engine.TORCH: (Task.CHAT, Task.EMBEDDING, Task.RERANK, Task.SPEECH),
}
FORMATS: Mapping[tuple[Engine, str], tuple[Dtype, ...]] = {
    (Engine.OPENVINO, "cpu"): (Dtype.BFLOAT16, Dtype.FLOAT32),
    (Engine.OPENVINO, "gpu"): (Dtype.FLOAT16, Dtype.FLOAT32),
    (Engine.OPENVINO, "npu"): (Dtype.FLOAT16,),
    (Engine.CTRANSLATE2, "cpu"): (Dtype.INT8, Dtype.FLOAT32),
    (Engine.CTRANSLATE2, "cuda"): (Dtype.FLOAT16, Dtype.BFLOAT16, Dtype.INT8, Dtype.FLOAT32),
    (Engine.LLAMACPP, "cpu"): (Dtype.FLOAT16, Dtype.FLOAT32),
    (Engine.LLAMACPP, "cuda"): (Dtype.FLOAT16, Dtype.FLOAT32),
    (Engine.LLAMACPP, "mps"): (Dtype.FLOAT16, Dtype.FLOAT32),
    (Engine.VLLM, "cpu"): (Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FLOAT32, Dtype.FP8),
    (Engine.VLLM, "cuda"): (Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FLOAT32, Dtype.FP8),
    (Engine.TORCH, "cpu"): (Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FLOAT32),
    (Engine.TORCH, "mps"): (Dtype.FLOAT16, Dtype.BFLOAT16, Dtype.FLOAT32),
    (Engine.TORCH, "cuda"): (Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FLOAT32, Dtype.FP8),
}
"""Formats that engines compute in, by kind of device; an engine uses no other kinds. Some GPUs lack
some of those listed for `cuda`; only the engine sees which. llama.cpp multiplies weights in the
format of their file: here float16 or float32 is that of its cache and of attention."""
SPECULATION: Mapping[Engine, frozenset[str]] = {
    Engine.OPENVINO: frozenset({"promptLookup"}),
    Engine.LLAMACPP: frozenset({"draft", "promptLookup"}),
}
"""Methods of speculative decoding that engines have, by their names on the wire."""
GGUF_READERS: frozenset[tuple[Engine, Task]] = frozenset({
    (Engine.OPENVINO, Task.CHAT),
    *((engine, task) for engine in (Engine.LLAMACPP, Engine.TORCH)
      for task in (Task.CHAT, Task.EMBEDDING, Task.RERANK)),
})  # fmt: skip
"""Engines that read GGUF files, by task."""
VISION = (Engine.LLAMACPP, Engine.VLLM, Engine.TORCH)
"""Engines that read images; llamacpp with a projector beside the model."""
CACHE_TYPES = (Engine.LLAMACPP,)
"""Engines with a choice of the key/value cache's number format."""
QUANTIZED = (Quantization.INT8, Quantization.INT4)
CONVERTED: Mapping[tuple[Engine, Task], tuple[Quantization, ...]] = {
    (Engine.OPENVINO, Task.CHAT): QUANTIZED,
    (Engine.CTRANSLATE2, Task.SPEECH): (Quantization.INT8,),
}
"""Number formats that weights are converted to; other engines load files as they are."""
INTEL = ("gpu", "npu")
"""Kinds of devices that only OpenVINO uses."""


def kind_of(device: str) -> str:
    """`cuda` of `cuda:1`."""
    return device.partition(":")[0]


def kinds(engine: Engine) -> tuple[str, ...]:
    """The kinds of devices that an engine uses."""
    return tuple(kind for known, kind in FORMATS if known is engine)
