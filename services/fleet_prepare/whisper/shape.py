"""The sizes of a Whisper model, from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_weights.errors import WeightsError

LIMITS = {
    "vocab_size": 1 << 20,
    "num_mel_bins": 1 << 10,
    "d_model": 1 << 14,
    "encoder_layers": 1 << 8,
    "encoder_attention_heads": 1 << 8,
    "encoder_ffn_dim": 1 << 16,
    "decoder_layers": 1 << 8,
    "decoder_attention_heads": 1 << 8,
    "decoder_ffn_dim": 1 << 16,
    "max_source_positions": 1 << 14,
    "max_target_positions": 1 << 14,
}
"""Limits what a hostile file can make the conversion allocate; large-v3 has 32 layers of 1280."""
POSITIONS = {"max_source_positions": 1500, "max_target_positions": 448}
"""Of every Whisper model; transformers' defaults."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Whisper's sizes by the names they have in config.json."""

    vocab_size: int
    num_mel_bins: int
    d_model: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_layers: int
    decoder_attention_heads: int
    decoder_ffn_dim: int
    max_source_positions: int
    max_target_positions: int


def shape(config: Mapping[str, Any], path: Path) -> Shape:
    """Raises WeightsError that names the key of `path` at fault."""
    if config.get("model_type") != "whisper":
        kind = config.get("model_type")
        raise WeightsError(f"{path} does not describe a Whisper model: its model_type is {kind!r}.")
    activation = config.get("activation_function", "gelu")
    if activation != "gelu":
        raise WeightsError(
            f"{path}: activation_function is {activation!r}; CTranslate2 computes 'gelu' only."
        )
    sizes = {name: _size(config, name, limit, path) for name, limit in LIMITS.items()}
    found = Shape(**sizes)
    for heads in (found.encoder_attention_heads, found.decoder_attention_heads):
        if found.d_model % heads:
            raise WeightsError(
                f"{path}: d_model {found.d_model} does not divide into {heads} heads."
            )
    return found


def _size(config: Mapping[str, Any], name: str, limit: int, path: Path) -> int:
    value = config.get(name, POSITIONS.get(name))
    if type(value) is not int or not 1 <= value <= limit:
        raise WeightsError(f"{path}: {name} must be an integer from 1 to {limit}, not {value!r}.")
    return value
