"""Builds a bidirectional Gemma 3 text encoder (embeddinggemma) from safetensors.

Layers and tensor names follow transformers' Gemma3TextModel with `use_bidirectional_attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    linear,
    lookup,
    merge_heads,
    rms_norm,
    scalar,
    split_heads,
)
from fleet_server.engines.openvino.encoder.parts import Encoder, prefix_of
from fleet_server.engines.openvino.encoder.rotary import (
    FULL,
    SLIDING,
    Rotation,
    layer_kinds,
    theta_of,
    windowed,
)
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.load_error import LoadError

WORDS = "embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class Gemma3:
    """The dimensions in a Gemma3TextConfig; `window` is the reach of a sliding layer."""

    vocab_size: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    positions: int
    eps: float
    scale: float
    window: int
    kinds: list[str]
    thetas: dict[str, float]
    activation: Activation
    bias: bool

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Gemma3:
        """Raises LoadError naming a missing or invalid field."""
        heads, kv_heads = (
            number(config, "num_attention_heads"),
            number(config, "num_key_value_heads"),
        )
        if heads % kv_heads:
            raise LoadError(f"config.json: {heads} heads cannot share {kv_heads} key/value heads.")
        layers = number(config, "num_hidden_layers")
        every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
        usual = [FULL if (layer + 1) % every == 0 else SLIDING for layer in range(layers)]
        return cls(
            vocab_size=number(config, "vocab_size"),
            hidden=number(config, "hidden_size"),
            inner=number(config, "intermediate_size"),
            heads=heads,
            kv_heads=kv_heads,
            head_size=number(config, "head_dim"),
            positions=number(config, "max_position_embeddings"),
            eps=norm_eps(config, 1e-6, "rms_norm_eps"),
            scale=number(config, "query_pre_attn_scalar") ** -0.5,
            # The window of a bidirectional model extends by half of it to either side.
            window=number(config, "sliding_window") // 2,
            kinds=layer_kinds(config, layers, usual),
            thetas={
                FULL: theta_of(config, FULL, "rope_theta", 1e6),
                SLIDING: theta_of(config, SLIDING, "rope_local_base_freq", 1e4),
            },
            activation=ACTIVATIONS[config.get("hidden_activation", "gelu_pytorch_tanh")],
            bias=bool(config.get("attention_bias")),
        )


class Builder:
    """Adds the layers of one model to a graph."""

    def __init__(self, shape: Gemma3, tensors: EncoderTensors) -> None:
        self._shape = shape
        self._tensors = tensors

    def build(self) -> Encoder:
        """Raises LoadError naming a tensor that is missing or of another shape."""
        shape, prefix = self._shape, prefix_of(self._tensors, WORDS)
        ids, mask = ids_input("input_ids"), ids_input("attention_mask")
        bias = additive_mask(mask)
        biases = {FULL: bias, SLIDING: windowed(bias, ids, shape.window)}
        rotations = {
            kind: Rotation.of(ids, theta, shape.head_size, shape.positions)
            for kind, theta in shape.thetas.items()
        }
        words = lookup(self._tensors, f"{prefix}{WORDS}", (shape.vocab_size, shape.hidden), ids)
        x = op.multiply(words, scalar(shape.hidden**0.5))
        for layer, kind in enumerate(shape.kinds):
            x = self._layer(f"{prefix}layers.{layer}.", x, biases[kind], rotations[kind])
        return Encoder([ids, mask], mask, self._norm(x, f"{prefix}norm", shape.hidden), prefix)

    def _layer(self, base: str, x: Node, bias: Node, rotation: Rotation) -> Node:
        size = self._shape.hidden
        normal = self._norm(x, f"{base}input_layernorm", size)
        attended = self._attention(f"{base}self_attn.", normal, bias, rotation)
        x = op.add(x, self._norm(attended, f"{base}post_attention_layernorm", size))
        normal = self._norm(x, f"{base}pre_feedforward_layernorm", size)
        grown = self._feed_forward(f"{base}mlp.", normal)
        return op.add(x, self._norm(grown, f"{base}post_feedforward_layernorm", size))

    def _attention(self, base: str, x: Node, bias: Node, rotation: Rotation) -> Node:
        shape = self._shape
        wide = shape.heads * shape.head_size

        def heads(name: str, count: int) -> Node:
            flat = self._linear(x, f"{base}{name}", count * shape.head_size, shape.hidden)
            return split_heads(flat, count, shape.head_size)

        def turned(name: str, count: int, norm: str) -> Node:
            return rotation.turn(self._norm(heads(name, count), f"{base}{norm}", shape.head_size))

        queries = turned("q_proj", shape.heads, "q_norm")
        keys = self._shared(turned("k_proj", shape.kv_heads, "k_norm"))
        values = self._shared(heads("v_proj", shape.kv_heads))
        attended = op.scaled_dot_product_attention(queries, keys, values, bias, scalar(shape.scale))
        return self._linear(merge_heads(attended, wide), f"{base}o_proj", shape.hidden, wide)

    def _shared(self, x: Node) -> Node:
        """Each key/value head repeated for the query heads that share it."""
        shape = self._shape
        if shape.heads == shape.kv_heads:
            return x
        each = np.repeat(np.arange(shape.kv_heads), shape.heads // shape.kv_heads)
        return op.gather(x, constant(each), index(1))

    def _feed_forward(self, base: str, x: Node) -> Node:
        size, inner = self._shape.hidden, self._shape.inner
        gate = activate(self._plain(x, f"{base}gate_proj", inner, size), self._shape.activation)
        grown = op.multiply(gate, self._plain(x, f"{base}up_proj", inner, size))
        return self._plain(grown, f"{base}down_proj", size, inner)

    def _linear(self, x: Node, name: str, out_size: int, in_size: int) -> Node:
        return linear(x, self._tensors, name, out_size, in_size, bias=self._shape.bias)

    def _plain(self, x: Node, name: str, out_size: int, in_size: int) -> Node:
        return linear(x, self._tensors, name, out_size, in_size, bias=False)

    def _norm(self, x: Node, name: str, size: int) -> Node:
        """RMS norm; Gemma stores the weights minus 1."""
        weight = self._tensors.take(f"{name}.weight", (size,)) + np.float32(1)
        return rms_norm(x, weight, self._shape.eps)
