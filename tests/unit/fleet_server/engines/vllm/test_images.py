"""Models that read images, by their config.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.images import image_arguments, image_tokens, shown_images

QWEN3_VL = {
    "model_type": "qwen3_vl", "image_token_id": 151655, "video_token_id": 151656,
    "vision_start_token_id": 151652, "vision_end_token_id": 151653, "vision_config": {"depth": 27},
    "tie_word_embeddings": False,
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3", "boi_token_index": 255999, "eoi_token_index": 256000,
    "image_token_index": 262144, "mm_tokens_per_image": 256, "vision_config": {},
    "eos_token_id": [1, 106],
}  # fmt: skip


def test_tokens_of_images_are_found(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for config, tokens in (
        (QWEN3_VL, {151652, 151653, 151655, 151656}),
        (GEMMA3, {255999, 256000, 262144}),
        ({"model_type": "llama", "image_token_id": 3}, set()),
    ):
        path.write_text(json.dumps(config))
        assert image_tokens(tmp_path) == tokens


@pytest.mark.parametrize(
    ("ids", "tokens", "images"),
    [
        # Qwen's start, placeholder and end of two images; Gemma's start of one.
        ([1, 52, 55, 53, 9, 52, 55, 53], {52, 53, 55, 56}, 2),
        ([1, 7, 9], {7, 8, 62}, 1),
        ([1, 9], {7, 8, 62}, 0),
    ],
)
def test_images_in_a_prompt_are_counted(ids: list[int], tokens: set[int], images: int) -> None:
    for number in (1, 2, 3):
        assert shown_images(ids, tokens, number) == images


def test_images_of_a_request_are_bounded() -> None:
    spec = ModelSpec.model_validate({"model": "m", "vision": True, "limits": {"maxImages": 3}})
    assert image_arguments(spec)["limit_mm_per_prompt"] == {"image": 3, "video": 0}
    texts = ModelSpec.model_validate({"model": "m"})
    assert image_arguments(texts)["limit_mm_per_prompt"]["image"] == 0
