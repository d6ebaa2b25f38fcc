"""Which repositories can be converted, by the names of their files and their config.json."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_prepare.whisper import supports

WHISPER = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}
NAMES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "tokenizer.json"],
        ["model.safetensors", "vocab.json", "merges.txt", "added_tokens.json"],
    ],
)
def test_a_repository_of_safetensors_and_a_tokenizer_converts(names: list[str]) -> None:
    assert supports(names, WHISPER)
    assert supports(names, {"model_type": "whisper"})
    assert supports(names, {"model_type": "whisper", "architectures": None})


@pytest.mark.parametrize(
    ("names", "config"),
    [
        (["pytorch_model.bin", "tokenizer.json"], WHISPER),
        (["model.safetensors"], WHISPER),
        (["model.safetensors", "vocab.json"], WHISPER),
        (["model.bin", "tokenizer.json"], WHISPER),
        (NAMES, {}),
        (NAMES, {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}),
        (NAMES, {"model_type": "whisper", "architectures": ["WhisperForAudioClassification"]}),
        (NAMES, {"model_type": "whisper", "architectures": 1}),
    ],
)
def test_other_repositories_do_not_convert(names: list[str], config: dict[str, Any]) -> None:
    assert supports(names, config) is None
