"""Chat models that read images: their tokens in config.json, and vLLM's arguments; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def shown_images(ids: Sequence[int], tokens: Collection[int], images: int) -> int:
    """How many images the prompt `ids` shows: `images` if any of `tokens` occurs as often.

    Which of them a template writes differs: Qwen's has a start, a placeholder and an end for each
    image, Gemma's only a start.
    """
    counts = [ids.count(token) for token in tokens]
    return images if images in counts else max(counts)


def image_arguments(spec: ModelSpec) -> dict[str, Any]:
    """Keyword arguments of `vllm.AsyncEngineArgs` for a model that can read images."""
    images = spec.limits.max_images if spec.vision else 0
    return {
        "limit_mm_per_prompt": {"image": images, "video": 0},
        # Requests that are refused would leave images in one of its two halves.
        "mm_processor_cache_gb": 0,
    }
