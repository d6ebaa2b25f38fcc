"""Which encoders the graph builder knows, and their shape as config.json states it.

Called by `files` (can this folder be served?) and by the engines. Field names and defaults are
those of transformers' BertConfig and XLMRobertaConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_prepare.encoder import ACTIVATIONS, Activation, graph_refusal
from fleet_server.engines.encoder_files.positions import position_offset
from fleet_server.load_error import LoadError

FAMILIES: dict[str, bool] = {
    "bert": False,
    "roberta": True,
    "xlm-roberta": True,
    "camembert": True,
}
"""`model_type` of each known family, and whether its position ids begin behind the padding id."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers a graph is built from."""

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


def read(config: Mapping[str, Any]) -> Architecture:
    """The architecture in a config.json. Raises LoadError naming what is unknown or missing."""
    if (reason := graph_refusal(config)) is not None:
        raise LoadError(
            f"No encoder graph can be built: {reason}.", "The torch engine serves other encoders."
        )
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    if hidden % heads:
        raise LoadError(f"config.json: hidden_size {hidden} is no multiple of {heads} heads.")
    return Architecture(
        family=config["model_type"],
        vocab_size=_number(config, "vocab_size"),
        hidden=hidden,
        layers=_number(config, "num_hidden_layers"),
        heads=heads,
        positions=_number(config, "max_position_embeddings"),
        type_vocab=config.get("type_vocab_size", 2),
        norm_eps=float(config.get("layer_norm_eps", 1e-12)),
        activation=ACTIVATIONS[config.get("hidden_act", "gelu")],
        position_offset=position_offset(config),
    )


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LoadError(f"config.json: {name} must be a positive number, it is {value!r}.")
    return value
