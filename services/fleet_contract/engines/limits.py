"""Refuses specs that an engine does not serve, whatever the machine, its build and the files; pure.

Servers refuse them before they fetch anything, and the operator before it creates a pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleet_contract.engines import features
from fleet_contract.spec import ADAPTER_ENGINES, Dtype, Engine, ModelSpec, Quantization, Task
from fleet_contract.spec_parts import CacheType

DEVICE_HINT = "Set device (or MODEL_DEVICE) to auto or cpu."


@dataclass(frozen=True, slots=True)
class Refusal:
    """`message` is the reason, `hint` what to change."""

    message: str
    hint: str


def refusal(spec: ModelSpec, engine: Engine, device: str) -> Refusal | None:
    """Why `engine` does not serve `spec` on `device`; `auto` is any device of the engine that need
    not be named."""
    if (why := device_refusal(spec, engine, device)) is not None:
        return Refusal(f"{spec.model} requires device {device}: {why}.", DEVICE_HINT)
    if spec.task not in features.TASKS.get(engine, ()):
        able = [known.value for known, tasks in features.TASKS.items() if spec.task in tasks]
        return Refusal(
            f"The {engine.value} engine does not serve task {spec.task.value} in this process.",
            f"Engines that do: {', '.join(able)}.",
        )
    if names_only_gguf(spec) and (engine, spec.task) not in features.GGUF_READERS:
        return Refusal(
            f"The {engine.value} engine reads no GGUF for task {spec.task.value}, and {spec.model} "
            "names one.",
            "Leave `engine` (and `device`) at auto, or name other weights in `source`.",
        )
    if spec.vision and engine not in features.VISION:
        return Refusal(
            f"The {engine.value} engine does not read images, and {spec.model} has `vision`.",
            "Remove `vision`, or leave `engine` at auto.",
        )
    if spec.adapters and engine not in ADAPTER_ENGINES:
        return Refusal(
            f"The {engine.value} engine loads no adapters, and {spec.model} has some.",
            f"Engines that do: {', '.join(ADAPTER_ENGINES)}.",
        )
    gguf = [one.name for one in spec.adapters if one.source.lower().endswith(".gguf")]
    if gguf and engine is Engine.VLLM:
        return Refusal(
            f"The vllm engine loads adapters in PEFT's format, and {spec.model}:{gguf[0]} is GGUF.",
            "Name the adapter's folder in PEFT's format in its `source`, or a GGUF of the model, "
            "for llamacpp.",
        )
    return option_refusal(spec, engine) or _format(spec, engine, device)


def names_only_gguf(spec: ModelSpec) -> bool:
    """Whether all weights are GGUF files by their names; a repository may hold others."""
    names = [file.path for file in spec.weights] or [spec.source or ""]
    return all(name.lower().endswith(".gguf") for name in names)


def device_refusal(spec: ModelSpec, engine: Engine, device: str) -> str | None:
    """Why `engine` does not serve `spec` on a device that is named."""
    kind = features.kind_of(device)
    if kind == "auto" or engine not in features.TASKS:
        return None
    if kind == "mps" and engine is Engine.CTRANSLATE2:
        return None  # CTranslate2 has no MPS and uses the CPU, which is the best there is for it
    if kind not in features.kinds(engine):
        return f"the {engine.value} engine does not use it"
    if kind not in features.INTEL:
        return None
    if spec.task not in features.TASKS[engine]:
        return f"the {engine.value} engine does not serve task {spec.task.value}"
    if kind == "npu" and spec.task is Task.CHAT:
        return "OpenVINO GenAI does not batch chats on an NPU"
    if spec.vision:
        return "the openvino engine does not read images"
    return "the openvino engine loads no adapters" if spec.adapters else None


def option_refusal(spec: ModelSpec, engine: Engine) -> Refusal | None:
    """Why `engine` lacks an option of `spec`: a way to guess tokens, or a format of its cache."""
    for method in sorted(spec.speculative.wanted - features.SPECULATION.get(engine, frozenset())):
        able = [known for known, methods in features.SPECULATION.items() if method in methods]
        return Refusal(
            f"{spec.model}: the {engine.value} engine has no speculative.{method}.",
            f"Engines that do: {', '.join(able)}. Remove the field, or set `engine`.",
        )
    if "draft" in spec.speculative.wanted and spec.vision:
        # With a draft model of another width, llama.cpp fails all running sequences at an image.
        return Refusal(
            f"{spec.model}: no engine reads images with a draft model.",
            "Remove `vision` or `speculative.draft`; `speculative.promptLookup` has no such limit.",
        )
    if spec.cache.type is not CacheType.AUTO and engine not in features.CACHE_TYPES:
        return Refusal(
            f"{spec.model}: the {engine.value} engine has no cache.type {spec.cache.type.value}.",
            f"The engine {', '.join(features.CACHE_TYPES)} does. Remove the field, or set "
            "`engine`.",
        )
    if spec.cache.type is not CacheType.AUTO and spec.dtype is Dtype.FLOAT32:
        return Refusal(
            f"{spec.model} has dtype float32 and cache.type {spec.cache.type.value}.",
            "Use dtype auto or float16 with a cache type.",
        )
    return None


def _format(spec: ModelSpec, engine: Engine, device: str) -> Refusal | None:
    wanted = spec.quantization
    converted = features.CONVERTED.get((engine, spec.task), ())
    if wanted not in (Quantization.AUTO, Quantization.NONE, *converted):
        loaded = f"; {engine.value} loads files as they are" if not converted else ""
        formats = f" to {', '.join(converted)}" if converted else ""
        return Refusal(
            f"{spec.model}: quantization {wanted.value} is for weights that are "
            f"converted{formats}{loaded}.",
            "Leave `quantization` (QUANTIZATION) at auto.",
        )
    named = [features.kind_of(device)] if device != "auto" else _unnamed(engine)
    able = dict.fromkeys(one for kind in named for one in features.FORMATS.get((engine, kind), ()))
    if spec.dtype != "auto" and able and spec.dtype not in able:
        where = f" on device {device}" if device != "auto" else ""
        return Refusal(
            f"{spec.model}: the {engine.value} engine does not compute in {spec.dtype.value}"
            f"{where}.",
            f"Use dtype {', '.join(('auto', *list(able)[:-1]))} or {list(able)[-1]}.",
        )
    return None


def _unnamed(engine: Engine) -> list[str]:
    return [kind for kind in features.kinds(engine) if kind not in features.INTEL]


def refusal_of_all(spec: ModelSpec, engines: Iterable[Engine], device: str) -> Refusal | None:
    """The refusal of the first of `engines` with the task, if none of them serves `spec`."""
    found = [(engine, refusal(spec, engine, device)) for engine in engines]
    if any(refused is None for _, refused in found):
        return None
    able = (refused for engine, refused in found if spec.task in features.TASKS[engine])
    return next(able, found[0][1] if found else None)
