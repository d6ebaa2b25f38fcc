"""Specs that an engine serves on no machine."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.engines import features
from fleet_contract.engines.limits import option_refusal, refusal, refusal_of_all
from fleet_contract.spec import ADAPTER_ENGINES, Engine, ModelSpec, Task

LORA = [{"name": "sql", "source": "file:///sql"}]
DRAFT = {"draft": {"source": "file:///draft.gguf"}}


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "org/m", **fields})


@pytest.mark.parametrize(
    ("engine", "device", "fields", "words"),
    [
        ("vllm", "auto", {"task": "rerank"}, "vllm engine does not serve task rerank"),
        ("container", "auto", {}, "container engine does not serve task chat"),
        ("openvino", "cuda:1", {}, "device cuda:1: the openvino engine does not use it"),
        ("openvino", "mps", {}, "device mps: the openvino engine does not use it"),
        ("vllm", "mps", {}, "the vllm engine does not use it"),
        ("torch", "gpu", {}, "the torch engine does not use it"),
        ("openvino", "npu", {}, "does not batch chats on an NPU"),
        ("vllm", "auto", {"source": "hf://o/m@main/m-Q4.gguf"}, "vllm engine reads no GGUF"),
        ("openvino", "auto", {"task": "embedding", "source": "file:///m.gguf"}, "reads no GGUF"),
        ("openvino", "auto", {"vision": True}, "does not read images"),
        ("torch", "auto", {"adapters": LORA}, "loads no adapters"),
        (
            "vllm",
            "auto",
            {"adapters": [{"name": "a", "source": "hf://o/a@main/a.gguf"}]},
            "adapters in PEFT's format, and org/m:a is GGUF",
        ),
        ("torch", "auto", {"speculative": {"promptLookup": True}}, "openvino, llamacpp"),
        ("openvino", "auto", {"speculative": DRAFT}, "has no speculative.draft"),
        ("llamacpp", "auto", {"speculative": DRAFT, "vision": True}, "no engine reads images"),
        ("vllm", "auto", {"cache": {"type": "q8_0"}}, "has no cache.type q8_0"),
        ("llamacpp", "auto", {"cache": {"type": "q8_0"}, "dtype": "float32"}, "dtype float32 and"),
        ("torch", "auto", {"quantization": "int8"}, "torch loads files as they are"),
        ("ctranslate2", "auto", {"task": "speech", "quantization": "int4"}, "converted to int8."),
        ("vllm", "auto", {"dtype": "int8"}, "does not compute in int8"),
        ("openvino", "auto", {"dtype": "float16"}, "does not compute in float16"),
        ("ctranslate2", "cpu", {"task": "speech", "dtype": "float16"}, "float16 on device cpu"),
    ],
)
def test_refused(engine: str, device: str, fields: dict[str, Any], words: str) -> None:
    found = refusal(spec(**fields), Engine(engine), device)
    assert found is not None
    assert words in f"{found.message} {found.hint}"
    assert found.hint


@pytest.mark.parametrize(
    ("engine", "device", "fields"),
    [
        ("ctranslate2", "mps", {"task": "speech"}),  # on the CPU
        ("ctranslate2", "auto", {"task": "speech", "dtype": "float16"}),
        ("openvino", "gpu:1", {"dtype": "float16"}),
        ("openvino", "auto", {"quantization": "int4"}),
        ("openvino", "npu", {"task": "embedding"}),
        ("llamacpp", "cuda", {"vision": True, "adapters": LORA, "cache": {"type": "q4_0"}}),
        ("vllm", "cuda", {"dtype": "fp8", "vision": True, "adapters": LORA}),
        ("vllm", "auto", {"source": "hf://o/m-GGUF"}),  # the files are not known
    ],
)
def test_not_refused(engine: str, device: str, fields: dict[str, Any]) -> None:
    assert refusal(spec(**fields), Engine(engine), device) is None


def test_auto_is_refused_if_every_engine_refuses() -> None:
    guesses = spec(speculative={"promptLookup": True})
    assert refusal_of_all(guesses, features.TASKS, "auto") is None
    refused = refusal_of_all(guesses, (Engine.CTRANSLATE2, Engine.TORCH), "auto")
    # CTranslate2 does not serve the task at all.
    assert refused == option_refusal(guesses, Engine.TORCH)
    int8 = spec(dtype="int8")
    assert "openvino engine" in getattr(refusal_of_all(int8, features.TASKS, "auto"), "message", "")
    assert refusal_of_all(spec(task="speech", dtype="int8"), features.TASKS, "cpu") is None


def test_the_tables_name_engines_of_their_tasks() -> None:
    served = {(engine, task) for engine, tasks in features.TASKS.items() for task in tasks}
    assert served >= features.GGUF_READERS | set(features.CONVERTED)
    chat = {engine for engine, task in served if task is Task.CHAT}
    assert chat >= {*features.VISION, *features.CACHE_TYPES, *features.SPECULATION}
    assert chat >= set(ADAPTER_ENGINES)
    assert all(features.kinds(engine) for engine in features.TASKS)
