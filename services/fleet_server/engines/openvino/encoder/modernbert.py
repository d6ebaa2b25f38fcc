"""Builds a ModernBERT encoder and its classifier from safetensors.

Warner et al., "Smarter, Better, Faster, Longer" (ModernBERT); tensor names are those of
transformers' ModernBertModel and ModernBertForSequenceClassification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openvino import opset13 as op

from fleet_contract.spec import Pooling
from fleet_prepare.encoder import ACTIVATIONS, Activation
from fleet_server.engines.openvino.encoder.architecture import norm_eps, number
from fleet_server.engines.openvino.encoder.head import check_one_logit, pool
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    activate,
    additive_mask,
    ids_input,
    index,
    layer_norm,
    linear,
    lookup,
    merge_heads,
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

WORDS = "embeddings.tok_embeddings.weight"


@dataclass(frozen=True, slots=True)
class ModernBert:
    """The dimensions in a ModernBertConfig; `window` is the reach of a sliding layer."""

    vocab_size: int
    hidden: int
    inner: int
    heads: int
    positions: int
    eps: float
    window: int
    kinds: list[str]
    thetas: dict[str, float]
    activation: Activation
    attention_bias: bool
    mlp_bias: bool
    norm_bias: bool

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> ModernBert:
        """Raises LoadError naming a missing or invalid field."""
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        if hidden % heads:
            raise LoadError(
                f"config.json: hidden_size {hidden} is not a multiple of {heads} heads."
            )
        layers = number(config, "num_hidden_layers")
        every = config.get("global_attn_every_n_layers") or 3
        usual = [SLIDING if layer % every else FULL for layer in range(layers)]
        return cls(
            vocab_size=number(config, "vocab_size"),
            hidden=hidden,
            inner=number(config, "intermediate_size"),
            heads=heads,
            positions=number(config, "max_position_embeddings"),
            eps=norm_eps(config, 1e-5, "norm_eps"),
            window=number(config, "local_attention") // 2,
            kinds=layer_kinds(config, layers, usual),
            thetas={
                FULL: theta_of(config, FULL, "global_rope_theta", 160_000.0),
                SLIDING: theta_of(config, SLIDING, "local_rope_theta", 10_000.0),
            },
            activation=ACTIVATIONS[config.get("hidden_activation", "gelu")],
            attention_bias=bool(config.get("attention_bias")),
            mlp_bias=bool(config.get("mlp_bias")),
            norm_bias=bool(config.get("norm_bias")),
        )


class Builder:
    """Adds the layers of one model to a graph."""

    def __init__(self, shape: ModernBert, tensors: EncoderTensors) -> None:
        self._shape = shape
        self._tensors = tensors

    def build(self) -> Encoder:
        """Raises LoadError naming a tensor that is missing or of another shape."""
        shape, prefix = self._shape, prefix_of(self._tensors, WORDS)
        ids, mask = ids_input("input_ids"), ids_input("attention_mask")
        bias = additive_mask(mask)
        biases = {FULL: bias, SLIDING: windowed(bias, ids, shape.window)}
        rotations = {
            kind: Rotation.of(ids, theta, shape.hidden // shape.heads, shape.positions)
            for kind, theta in shape.thetas.items()
        }
        words = lookup(self._tensors, f"{prefix}{WORDS}", (shape.vocab_size, shape.hidden), ids)
        x = self._norm(words, f"{prefix}embeddings.norm")
        for layer, kind in enumerate(shape.kinds):
            base = f"{prefix}layers.{layer}."
            # The first layer has no norm, since the embeddings are normalised.
            normal = x if layer == 0 else self._norm(x, f"{base}attn_norm")
            x = op.add(x, self._attention(base, normal, biases[kind], rotations[kind]))
            x = op.add(x, self._feed_forward(base, self._norm(x, f"{base}mlp_norm")))
        return Encoder([ids, mask], mask, self._norm(x, f"{prefix}final_norm"), prefix)

    def classify(self, encoder: Encoder, config: Mapping[str, Any]) -> Node:
        """`[batch, 1]`, the logit of ModernBertForSequenceClassification. Raises LoadError."""
        check_one_logit(self._tensors, "classifier")
        pooling = Pooling.MEAN if config.get("classifier_pooling") == "mean" else Pooling.CLS
        activation = ACTIVATIONS.get(str(config.get("classifier_activation", "gelu")))
        if activation is None:
            raise LoadError(
                f"classifier_activation {config['classifier_activation']!r} is not supported."
            )
        size, bias = self._shape.hidden, bool(config.get("classifier_bias"))
        pooled = pool(encoder.hidden, encoder.mask, pooling)
        dense = activate(
            linear(pooled, self._tensors, "head.dense", size, size, bias=bias), activation
        )
        return linear(self._norm(dense, "head.norm"), self._tensors, "classifier", 1, size)

    def _attention(self, base: str, x: Node, bias: Node, rotation: Rotation) -> Node:
        size, heads, with_bias = self._shape.hidden, self._shape.heads, self._shape.attention_bias
        fused = linear(x, self._tensors, f"{base}attn.Wqkv", 3 * size, size, bias=with_bias)
        parts = op.split(fused, index(2), 3).outputs()
        queries, keys, values = (split_heads(part, heads, size // heads) for part in parts)
        attended = op.scaled_dot_product_attention(
            rotation.turn(queries), rotation.turn(keys), values, bias
        )
        merged = merge_heads(attended, size)
        return linear(merged, self._tensors, f"{base}attn.Wo", size, size, bias=with_bias)

    def _feed_forward(self, base: str, x: Node) -> Node:
        size, inner, bias = self._shape.hidden, self._shape.inner, self._shape.mlp_bias
        fused = linear(x, self._tensors, f"{base}mlp.Wi", 2 * inner, size, bias=bias)
        halves = op.split(fused, index(2), 2)
        grown = op.multiply(activate(halves.output(0), self._shape.activation), halves.output(1))
        return linear(grown, self._tensors, f"{base}mlp.Wo", size, inner, bias=bias)

    def _norm(self, x: Node, name: str) -> Node:
        shape = self._shape
        return layer_norm(x, self._tensors, name, shape.hidden, shape.eps, bias=shape.norm_bias)
