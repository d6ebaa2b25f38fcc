"""Chat models that read images: their tokens in config.json, and vLLM's arguments; pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_server.engines.encoder_files.json_file import read_object

CONFIG = "vision_config"
KINDS = ("image", "video", "vision", "boi", "eoi")


def image_tokens(folder: Path) -> frozenset[int]:
    """The tokens that stand for images and videos in the model of `folder`; empty for a model of
    texts only."""
    config = read_object(folder / "config.json")
    if CONFIG not in config:
        return frozenset()
    return frozenset(
        value
        for name, value in config.items()
        if name.startswith(KINDS) and type(value) is int and "token" in name
    )


def image_arguments(spec: ModelSpec) -> dict[str, Any]:
    """Keyword arguments of `vllm.AsyncEngineArgs` for a model that can read images."""
    images = spec.limits.max_images if spec.vision else 0
    return {
        "limit_mm_per_prompt": {"image": images, "video": 0},
        # Requests that are refused would leave images in one of its two halves.
        "mm_processor_cache_gb": 0,
    }
