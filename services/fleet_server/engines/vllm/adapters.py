"""LoRA adapters in PEFT's format: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM accepts as a bound of adapters' ranks."""
AT_ONCE = 8
"""Maximum number of different adapters in a batch on a GPU; requests for more wait."""


def lora_arguments(adapters: Mapping[str, Path], device: str) -> dict[str, Any]:
    """Keyword arguments of `vllm.AsyncEngineArgs` for adapters by name; `device` is `cpu` or
    `cuda`. Raises LoadError."""
    if not adapters:
        return {}
    rank = max(_rank(name, folder) for name, folder in adapters.items())
    bound = next((each for each in RANKS if each >= rank), None)
    if bound is None:
        raise LoadError(f"An adapter has rank {rank}; the vllm engine supports {RANKS[-1]}.")
    kept = len(adapters)
    places = min(kept, AT_ONCE)
    if device == "cpu":
        # The kernels for CPUs take the adapter in the last place for sequences without one that
        # share a batch with others. So a place is left empty, which adds nothing.
        places = kept = kept + 1
    return {
        "enable_lora": True,
        "max_lora_rank": bound,
        "max_loras": places,
        "max_cpu_loras": kept,
    }


def _rank(name: str, folder: Path) -> int:
    """The greatest rank of the adapter's matrices: `rank_pattern` names those with another one."""
    config = read_object(folder / CONFIG)
    others = config.get("rank_pattern") or {}
    ranks: list[Any] = [config.get("r")]
    ranks += others.values() if isinstance(others, dict) else [None]
    if not all(type(rank) is int and rank >= 1 for rank in ranks):
        raise LoadError(
            f"The adapter {name} must be a folder in PEFT's format for the vllm engine: {folder} "
            f"holds no {CONFIG} with ranks.",
        )
    # Without it, vLLM opens pickles.
    if not (folder / WEIGHTS).is_file():
        raise LoadError(f"The adapter {name} holds no {WEIGHTS}; other formats are not loaded.")
    return int(max(ranks))
