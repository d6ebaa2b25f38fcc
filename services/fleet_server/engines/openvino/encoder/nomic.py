"""Builds a NomicBERT encoder (nomic-embed-text-v1.5) from safetensors.

BERT's layers with rotary positions, a gated feed-forward and no biases. Tensor names are those of
the repository's code or of transformers' NomicBertModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openvino import opset13 as op

from fleet_prepare.encoder import ACTIVATIONS, Activation
from fleet_server.engines.openvino.encoder.architecture import norm_eps, number
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    activate,
    additive_mask,
    constant,
    ids_input,
    index,
    layer_norm,
    linear,
    lookup,
    merge_heads,
    split_heads,
)
from fleet_server.engines.openvino.encoder.parts import Encoder, prefix_of
from fleet_server.engines.openvino.encoder.rotary import FULL, Rotation, theta_of
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.load_error import LoadError

WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Names:
    """The tensor names of one release of the model's code."""

    first_norm: str
    layers: str
    fused: str | None
    out: str
    up: str
    gate: str
    down: str
    attention_norm: str
    mlp_norm: str


OWN = Names("emb_ln", "encoder.layers", "attn.Wqkv", "attn.out_proj", "mlp.fc11", "mlp.fc12",
            "mlp.fc2", "norm1", "norm2")  # fmt: skip
TRANSFORMERS = Names("embeddings.LayerNorm", "layers", None, "self_attn.o_proj", "mlp.up_proj",
                     "mlp.gate_proj", "mlp.down_proj", "post_attention_layernorm",
                     "post_mlp_layernorm")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Nomic:
    """The dimensions in a NomicBertConfig, with GPT-2's or transformers' names."""

    hidden: int
    inner: int
    layers: int
    heads: int
    positions: int
    eps: float
    theta: float
    activation: Activation

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Nomic:
        """Raises LoadError naming a missing or invalid field."""
        hidden = number(config, "hidden_size", "n_embd")
        heads = number(config, "num_attention_heads", "n_head")
        if hidden % heads:
            raise LoadError(
                f"config.json: hidden size {hidden} is not a multiple of {heads} heads."
            )
        return cls(
            hidden=hidden,
            inner=number(config, "intermediate_size", "n_inner"),
            layers=number(config, "num_hidden_layers", "n_layer"),
            heads=heads,
            positions=number(config, "max_position_embeddings", "n_positions"),
            eps=norm_eps(config, 1e-12, "layer_norm_eps", "layer_norm_epsilon"),
            theta=theta_of(config, FULL, "rotary_emb_base", 1000.0),
            activation=ACTIVATIONS[config.get("hidden_act", "silu")],
        )


class Builder:
    """Adds the layers of one model to a graph."""

    def __init__(self, shape: Nomic, tensors: EncoderTensors) -> None:
        self._shape = shape
        self._tensors = tensors
        self._prefix = prefix_of(tensors, WORDS)
        own = f"{self._prefix}{OWN.first_norm}.weight" in tensors
        self._names = OWN if own else TRANSFORMERS

    def build(self, *, with_types: bool) -> Encoder:
        """Raises LoadError naming a tensor that is missing or of another shape."""
        shape, names, prefix = self._shape, self._names, self._prefix
        ids, mask = ids_input("input_ids"), ids_input("attention_mask")
        types = ids_input("token_type_ids") if with_types else None
        x = self._norm(self._embed(ids, types), f"{prefix}{names.first_norm}")
        bias = additive_mask(mask)
        rotation = Rotation.of(ids, shape.theta, shape.hidden // shape.heads, shape.positions)
        for layer in range(shape.layers):
            base = f"{prefix}{names.layers}.{layer}."
            attended = self._attention(base, x, bias, rotation)
            x = self._norm(op.add(x, attended), f"{base}{names.attention_norm}")
            x = self._norm(op.add(x, self._feed_forward(base, x)), f"{base}{names.mlp_norm}")
        inputs = [ids, mask] if types is None else [ids, mask, types]
        return Encoder(inputs, mask, x, prefix)

    def _embed(self, ids: Node, types: Node | None) -> Node:
        # In some releases the table has more rows than the config's vocab_size.
        rows = self._tensors.shape(f"{self._prefix}{WORDS}")[0]
        x = lookup(self._tensors, f"{self._prefix}{WORDS}", (rows, self._shape.hidden), ids)
        name = f"{self._prefix}embeddings.token_type_embeddings.weight"
        if name not in self._tensors:
            return x
        kinds = self._tensors.take(name, self._tensors.shape(name))
        if types is None:
            return op.add(x, constant(kinds[0].copy()))
        return op.add(x, op.gather(constant(kinds), types, index(0)))

    def _attention(self, base: str, x: Node, bias: Node, rotation: Rotation) -> Node:
        size, heads = self._shape.hidden, self._shape.heads
        queries, keys, values = (split_heads(part, heads, size // heads)
                                 for part in self._projected(base, x))  # fmt: skip
        attended = op.scaled_dot_product_attention(
            rotation.turn(queries), rotation.turn(keys), values, bias
        )
        return self._linear(merge_heads(attended, size), f"{base}{self._names.out}", size, size)

    def _projected(self, base: str, x: Node) -> list[Node]:
        """Queries, keys and values, `[batch, length, hidden]` each."""
        size = self._shape.hidden
        if self._names.fused is not None:
            fused = self._linear(x, f"{base}{self._names.fused}", 3 * size, size)
            return list(op.split(fused, index(2), 3).outputs())
        return [self._linear(x, f"{base}self_attn.{name}_proj", size, size) for name in "qkv"]

    def _feed_forward(self, base: str, x: Node) -> Node:
        size, inner, names = self._shape.hidden, self._shape.inner, self._names
        gate = activate(self._linear(x, f"{base}{names.gate}", inner, size), self._shape.activation)
        grown = op.multiply(self._linear(x, f"{base}{names.up}", inner, size), gate)
        return self._linear(grown, f"{base}{names.down}", size, inner)

    def _linear(self, x: Node, name: str, out_size: int, in_size: int) -> Node:
        return linear(x, self._tensors, name, out_size, in_size, bias=False)

    def _norm(self, x: Node, name: str) -> Node:
        return layer_norm(x, self._tensors, name, self._shape.hidden, self._shape.eps)
