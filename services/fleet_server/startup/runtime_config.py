"""The event `runtime_config`: settings that determine a server's speed, and ineffective ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_contract.settings import retired
from fleet_contract.spec import Dtype, ModelSpec, Task
from fleet_prepare.choose import EngineChoice
from fleet_server.admission import passes_at_once, places

BLOCKS = ("limits", "batching", "cache", "warmup")
VECTORS = (Task.EMBEDDING, Task.RERANK)


def runtime_config(
    spec: ModelSpec, model: Any, choice: EngineChoice, threads: int
) -> dict[str, Any]:
    """Fields of the event `runtime_config`.

    `requests_at_once` requests run before others wait; those of an encoder share
    `passes_at_once` passes.
    """
    passes = passes_at_once(spec, model) if spec.task in VECTORS else None
    dtype = spec.dtype if choice.dtype is Dtype.AUTO else choice.dtype
    return {
        "model": spec.model,
        "task": spec.task.value,
        "engine": choice.engine.value,
        "device": getattr(model, "device", None) or choice.device,
        "dtype": getattr(model, "dtype", None) or dtype.value,
        "threads": threads,
        "requests_at_once": places(spec, model),
        "passes_at_once": passes,
        "pass_size": spec.pass_size if spec.task in VECTORS else None,
        **{name: getattr(spec, name).model_dump(mode="json") for name in BLOCKS},
    }


def without_effect(spec: ModelSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables and fields that are set but have no effect for this model, with the reason."""
    found = retired(environ)
    if spec.batching.window_ms and spec.task not in VECTORS:
        found["batching.windowMs"] = f"{spec.task.value} requests do not wait for a batch"
    return found
