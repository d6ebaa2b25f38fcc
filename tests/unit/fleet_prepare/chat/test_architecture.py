"""Requirements on the config.json of chat models that are converted."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_prepare import chat
from fleet_prepare.chat import architecture
from fleet_weights.errors import WeightsError
from support import tiny_chat

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("config", [tiny_chat.LLAMA, tiny_chat.QWEN3, tiny_chat.QWEN2])
def test_supported_families(config: dict[str, Any]) -> None:
    assert architecture.refusal(config) is None
    found = architecture.read(config)
    assert (found.layers, found.heads, found.kv_heads) == (2, 4, 2)
    assert found.family in (chat.supports(FILES, config) or "")


def test_the_head_size_is_that_of_the_hidden_size_where_none_is_given() -> None:
    assert architecture.read(tiny_chat.QWEN2).head_size == 16
    assert architecture.read(tiny_chat.QWEN3).head_size == 32


def test_biases_and_norms_of_each_family() -> None:
    llama, qwen2, qwen3 = (
        architecture.read(config)
        for config in (tiny_chat.LLAMA | {"attention_bias": True}, tiny_chat.QWEN2, tiny_chat.QWEN3)
    )
    assert (llama.qkv_bias, llama.output_bias, llama.qk_norm) == (True, True, False)
    assert (qwen2.qkv_bias, qwen2.output_bias, qwen2.qk_norm) == (True, False, False)
    assert (qwen3.qkv_bias, qwen3.output_bias, qwen3.qk_norm) == (False, False, True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architectures": ["Gemma3ForCausalLM"]}, "Gemma3ForCausalLM"),
        ({"architectures": None, "model_type": "mamba"}, "mamba"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, "multiple of num_key_value_heads"),
        ({"head_dim": 31}, "head_dim"),
        ({"hidden_act": "relu2"}, "relu2"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2}}, "longrope"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2}}, "low_freq_factor"),
        ({"rope_scaling": "yarn"}, "rope_scaling"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"quantization_config": {"quant_method": "fp8"}}, "weight_block_size"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "sliding"),
        ({"use_sliding_window": True, "sliding_window": 64}, "64"),
    ],
)  # fmt: skip
def test_unsupported_fields_are_named(changes: dict[str, Any], named: str) -> None:
    config = tiny_chat.QWEN3 | changes
    assert named in (architecture.refusal(config) or "")
    assert chat.supports(FILES, config) is None
    assert "Llama, Mistral, Qwen2, Qwen3" in (chat.refusal(FILES, config) or "")
    with pytest.raises(WeightsError, match=named):
        architecture.read(config)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["config.json", "pytorch_model.bin", "tokenizer.json"], "safetensors"),
        (["config.json", "model.safetensors", "tokenizer.model"], "tokenizer.json"),
    ],
)
def test_files_that_are_needed(names: list[str], named: str) -> None:
    assert named in (chat.refusal(names, tiny_chat.LLAMA) or "")
    assert chat.supports(names, tiny_chat.LLAMA) is None


def test_a_window_as_long_as_the_context_changes_nothing() -> None:
    config = tiny_chat.QWEN2 | {"use_sliding_window": True, "sliding_window": 32768}
    assert architecture.refusal(config) is None


def test_any_object_is_refused_or_read_without_an_error() -> None:
    for value in (None, True, -1, 1.5, "x", [], [1], {}, {"factor": None}):
        for name in tiny_chat.QWEN3:
            architecture.refusal(tiny_chat.QWEN3 | {name: value})
            architecture.refusal(tiny_chat.QWEN3 | {"rope_scaling": {name: value}})
