"""Tiny random models of further families, in transformers and as GGUF files of the same weights.

The configurations have the keys of real repositories. Differences of the formats: conversion
classes in convert_hf_to_gguf.py of llama.cpp.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
)

from support import tiny_chat, tiny_gguf

SHAPE: dict[str, Any] = {
    "vocab_size": tiny_chat.VOCABULARY, "hidden_size": 64, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": 4, "pad_token_id": 0,
}  # fmt: skip
CONFIGS: dict[str, PreTrainedConfig] = {
    # mistralai/Mistral-7B-Instruct-v0.3
    "llama": MistralConfig(**SHAPE, num_hidden_layers=2, head_dim=32, sliding_window=None,
                           rope_theta=1e6, tie_word_embeddings=False),
    # microsoft/Phi-3-mini-4k-instruct, with the partial rotation of Phi-4-mini
    "phi3": Phi3Config(**SHAPE, num_hidden_layers=2, sliding_window=2047, rope_theta=10000.0,
                       partial_rotary_factor=0.75, tie_word_embeddings=False),
    # google/gemma-3-1b-it; every sixth layer attends to all tokens
    "gemma3": Gemma3TextConfig(**SHAPE, num_hidden_layers=7, head_dim=32, sliding_window=32,
                               query_pre_attn_scalar=32, rope_theta=1e6,
                               rope_local_base_freq=10000.0, tie_word_embeddings=True),
}  # fmt: skip
"""By the name of llama.cpp's architecture."""


def model(family: str) -> Any:
    """A model of transformers in float32 with random weights, at which every term matters."""
    made = AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            middle = 1.0 if "norm" in name and family != "gemma3" else 0.0
            # Gemma multiplies embeddings by 8: with larger ones each token would repeat itself.
            scale = 0.02 if "embed" in name and family == "gemma3" else 0.2
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale + middle)
    return made


def write(path: Path, family: str, made: Any) -> Path:
    """The weights of `made` as a GGUF file with a tokenizer of tiny_chat."""
    config = made.config
    values = config.to_dict() | {"model_type": "llama", "rope_theta": _theta(config)}
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, family)
    tiny_gguf.write_shape(writer, values | {"head_dim": head})
    if family == "phi3":
        writer.add_rope_dimension_count(int(head * 0.75))
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    tiny_gguf.write_tokenizer(writer, values)
    names = gguf.get_tensor_name_map(tiny_gguf.architecture(family), config.num_hidden_layers)
    for name, weight in made.named_parameters():
        known = names.get_name(name, try_suffixes=(".weight",))
        assert known is not None, name
        tensor = weight.detach().numpy()
        if family == "llama":
            tensor = tiny_gguf.ordered(name, tensor, values)
        if family == "gemma3" and "norm" in name:
            tensor = tensor + np.float32(1)
        writer.add_tensor(known, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _theta(config: Any) -> float:
    """Base of the rotation, of the layers with full attention if they differ."""
    found = config.rope_parameters
    return float(found.get("full_attention", found)["rope_theta"])
