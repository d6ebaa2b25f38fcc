"""The dimensions of a BERT or RoBERTa encoder, from config.json.

Field names and defaults are those of transformers' BertConfig and XLMRobertaConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_prepare.encoder import ACTIVATIONS, Activation
from fleet_server.engines.encoder_files.positions import position_offset
from fleet_server.load_error import LoadError

FAMILIES: dict[str, bool] = {
    "bert": False,
    "roberta": True,
    "xlm-roberta": True,
    "camembert": True,
}
"""`model_type` of each family, and whether its position ids begin after the padding id."""


@dataclass(frozen=True, slots=True)
class EncoderArchitecture:
    """The dimensions of a graph."""

    family: str
    vocab_size: int
    hidden: int
    layers: int
    heads: int
    positions: int
    type_vocab: int
    norm_eps: float
    activation: Activation
    position_offset: int

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


def read(config: Mapping[str, Any]) -> EncoderArchitecture:
    """The architecture in a config.json. Raises LoadError naming an invalid field."""
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    if hidden % heads:
        raise LoadError(f"config.json: hidden_size {hidden} is not a multiple of {heads} heads.")
    return EncoderArchitecture(
        family=config["model_type"],
        vocab_size=number(config, "vocab_size"),
        hidden=hidden,
        layers=number(config, "num_hidden_layers"),
        heads=heads,
        positions=number(config, "max_position_embeddings"),
        type_vocab=config.get("type_vocab_size", 2),
        norm_eps=norm_eps(config, 1e-12, "layer_norm_eps"),
        activation=ACTIVATIONS[config.get("hidden_act", "gelu")],
        position_offset=position_offset(config),
    )


def number(config: Mapping[str, Any], *names: str) -> int:
    """The first of the fields that exists. Raises LoadError unless it is a positive integer."""
    name = next((name for name in names if name in config), names[0])
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LoadError(f"config.json: {name} must be a positive integer, not {value!r}.")
    return value


def norm_eps(config: Mapping[str, Any], default: float, *names: str) -> float:
    """The first of the fields that exists, else `default`. Raises LoadError."""
    name = next((name for name in names if name in config), names[0])
    value = config.get(name, default)
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise LoadError(f"config.json: {name} must be between 0 and 1, not {value!r}.")
    return float(value)
