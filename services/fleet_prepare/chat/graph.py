"""Builds a decoder as a stateful OpenVINO graph in the form that GenAI's pipelines read.

Pre-norm transformer with grouped-query attention, rotary embeddings and a gated MLP (Touvron et
al., arxiv.org/abs/2302.13971, and the Qwen2 and Qwen3 reports for biases and for normalised
queries and keys). Inputs are `input_ids`, `attention_mask`, `position_ids`, int64
`[batch, length]`, and `beam_idx`, int32 `[batch]`; the output is `logits`, float32
`[batch, length, vocabulary]`. The key/value cache is state: ReadValue, Gather by beam_idx, Concat
and Assign, which ContinuousBatchingPipeline replaces by paged attention.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.op.util import Variable, VariableInfo

from fleet_prepare.chat import rope
from fleet_prepare.chat.architecture import Architecture
from fleet_prepare.chat.ir_file import Node
from fleet_prepare.chat.weights import Weights

EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


def build(arch: Architecture, weights: Weights) -> Any:
    """The openvino.Model. Raises WeightsError for a tensor that is missing or misshapen."""
    return Builder(arch, weights).model()


class Builder:
    def __init__(self, arch: Architecture, weights: Weights) -> None:
        self._arch = arch
        self._weights = weights
        self._ids = _input("input_ids", [-1, -1], ov.Type.i64)
        self._mask = _input("attention_mask", [-1, -1], ov.Type.i64)
        self._positions = _input("position_ids", [-1, -1], ov.Type.i64)
        self._beams = _input("beam_idx", [-1], ov.Type.i32)
        self._batch = op.gather(op.shape_of(self._ids), _ints(0), _int(0))
        self._visible = self._causal_mask()
        self._cos, self._sin = self._angles()
        self._assigns: list[Any] = []

    def model(self) -> Any:
        arch = self._arch
        table = self._weights.table(EMBEDDINGS, (arch.vocab_size, arch.hidden))
        x = op.gather(table, self._ids, _int(0))
        for layer in range(arch.layers):
            x = self._layer(x, layer)
        x = self._norm(x, "model.norm.weight", arch.hidden)
        head = table
        if not arch.tied:
            head = self._weights.table(HEAD, (arch.vocab_size, arch.hidden))
        logits = op.matmul(x, head, False, True)
        logits.output(0).set_names({"logits"})
        result = op.result(logits)
        inputs = [self._ids, self._mask, self._positions, self._beams]
        return ov.Model([result], self._assigns, inputs, arch.family)

    def _layer(self, x: Node, number: int) -> Node:
        arch, base = self._arch, f"model.layers.{number}."
        normal = self._norm(x, f"{base}input_layernorm.weight", arch.hidden)
        x = op.add(x, self._attention(normal, number, f"{base}self_attn."))
        normal = self._norm(x, f"{base}post_attention_layernorm.weight", arch.hidden)
        return op.add(x, self._mlp(normal, f"{base}mlp."))

    def _attention(self, x: Node, number: int, base: str) -> Node:
        arch = self._arch
        query = self._rotated(self._heads(x, base, "q", arch.heads))
        key = self._rotated(self._heads(x, base, "k", arch.kv_heads))
        value = self._heads(x, base, "v", arch.kv_heads)
        key = self._repeated(self._cached(key, f"past_key_values.{number}.key"))
        value = self._repeated(self._cached(value, f"past_key_values.{number}.value"))
        mixed = op.scaled_dot_product_attention(query, key, value, self._visible)
        flat = op.reshape(
            op.transpose(mixed, _ints(0, 2, 1, 3)), _ints(0, 0, arch.heads * arch.head_size), True
        )
        return self._linear(
            flat, f"{base}o_proj", arch.hidden, arch.heads * arch.head_size, arch.output_bias
        )

    def _heads(self, x: Node, base: str, name: str, heads: int) -> Node:
        """`[batch, heads, length, head_size]`, normalised if the architecture requires it."""
        arch = self._arch
        flat = self._linear(
            x, f"{base}{name}_proj", heads * arch.head_size, arch.hidden, arch.qkv_bias
        )
        split = op.reshape(flat, _ints(0, 0, heads, arch.head_size), True)
        if arch.qk_norm and name != "v":
            split = self._norm(split, f"{base}{name}_norm.weight", arch.head_size)
        return op.transpose(split, _ints(0, 2, 1, 3))

    def _cached(self, now: Node, name: str) -> Node:
        """Past and present, joined along the length and stored as state for the next call."""
        arch = self._arch
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, arch.kv_heads, -1, arch.head_size])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        shape = op.concat(
            [self._batch, _ints(arch.kv_heads), _ints(0), _ints(arch.head_size)], axis=0
        )
        empty = op.broadcast(op.constant(np.float32(0)), shape)
        past = op.gather(op.read_value(empty, variable), self._beams, _int(0))
        whole = op.concat([past, now], axis=2)
        self._assigns.append(op.assign(whole, variable))
        return whole

    def _repeated(self, x: Node) -> Node:
        """Repeats each key or value head for the query heads that share it."""
        arch = self._arch
        times = arch.heads // arch.kv_heads
        if times == 1:
            return x
        shape = op.concat(
            [self._batch, _ints(arch.kv_heads), _ints(times), _ints(1), _ints(arch.head_size)],
            axis=0,
        )
        spread = op.broadcast(op.unsqueeze(x, _int(2)), shape, broadcast_spec="BIDIRECTIONAL")
        return op.reshape(spread, _ints(0, arch.heads, -1, arch.head_size), True)

    def _mlp(self, x: Node, base: str) -> Node:
        arch = self._arch
        inner, outer = arch.intermediate, arch.hidden
        gate = self._linear(x, f"{base}gate_proj", inner, outer, arch.mlp_bias)
        up = self._linear(x, f"{base}up_proj", inner, outer, arch.mlp_bias)
        if arch.activation == "silu":
            gate = op.swish(gate)
        else:
            gate = op.gelu(gate, "erf" if arch.activation == "gelu" else "tanh")
        return self._linear(op.multiply(gate, up), f"{base}down_proj", outer, inner, arch.mlp_bias)

    def _linear(self, x: Node, name: str, out: int, width: int, biased: bool) -> Node:
        product = op.matmul(x, self._weights.matrix(f"{name}.weight", (out, width)), False, True)
        return op.add(product, self._weights.vector(f"{name}.bias", out)) if biased else product

    def _norm(self, x: Node, name: str, size: int) -> Node:
        """Root mean square norm over the last axis."""
        square = op.reduce_mean(op.power(x, op.constant(np.float32(2))), _ints(-1), True)
        root = op.sqrt(op.add(square, op.constant(np.float32(self._arch.norm_eps))))
        normal = op.multiply(x, op.divide(op.constant(np.float32(1)), root))
        return op.multiply(normal, self._weights.vector(name, size))

    def _angles(self) -> tuple[Node, Node]:
        """Cosine and sine for each position and channel, `[batch, 1, length, head_size]`."""
        turns, scale = rope.frequencies(self._arch.rope, self._arch.head_size)
        batch = op.concat([self._batch, _ints(1), _ints(1)], axis=0)
        column = op.constant(turns[None, :, None])
        column = op.broadcast(column, batch, broadcast_spec="BIDIRECTIONAL")
        row = op.convert(op.unsqueeze(self._positions, _int(1)), "f32")
        half = op.transpose(op.matmul(column, row, False, False), _ints(0, 2, 1))
        angles = op.concat([half, half], axis=-1)
        found = []
        for node in (op.cos(angles), op.sin(angles)):
            if scale != 1:
                node = op.multiply(node, op.constant(np.float32(scale)))
            found.append(op.unsqueeze(node, _int(1)))
        return found[0], found[1]

    def _rotated(self, x: Node) -> Node:
        half = self._arch.head_size // 2
        end = np.iinfo(np.int64).max
        first = op.slice(x, _ints(0), _ints(half), _ints(1), _ints(3))
        second = op.slice(x, _ints(half), _ints(end), _ints(1), _ints(3))
        turned = op.concat([op.multiply(second, op.constant(np.float32(-1))), first], axis=-1)
        return op.add(op.multiply(x, self._cos), op.multiply(turned, self._sin))

    def _causal_mask(self) -> Node:
        """Boolean `[batch, 1, length, past + length]`: the positions each token attends to."""
        length = op.gather(op.shape_of(self._ids), _int(1), _int(0))
        whole = op.gather(op.shape_of(self._mask), _int(1), _int(0))
        columns = op.range(_int(0), whole, _int(1), "i64")
        rows = op.add(op.range(_int(0), length, _int(1), "i64"), op.subtract(whole, length))
        past = op.less_equal(op.unsqueeze(columns, _ints(0)), op.unsqueeze(rows, _ints(1)))
        present = op.not_equal(self._mask, _int(0))
        return op.logical_and(op.unsqueeze(present, _ints(1, 2)), op.unsqueeze(past, _ints(0, 1)))


def _input(name: str, shape: list[int], kind: Any) -> Node:
    node = op.parameter(shape, kind, name=name)
    node.output(0).set_names({name})
    return node


def _int(value: int) -> Node:
    return op.constant(np.int64(value))


def _ints(*values: int) -> Node:
    return op.constant(np.array(values, dtype=np.int64))
