"""Builds a BERT or RoBERTa encoder, up to its last hidden state, from safetensors.

The layers follow Devlin et al., "BERT"; tensor names are those of transformers' BertModel and
XLMRobertaModel.
"""

from __future__ import annotations

import numpy as np
from openvino import opset13 as op

from fleet_server.engines.openvino.encoder.architecture import EncoderArchitecture
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    activate,
    additive_mask,
    axes,
    constant,
    ids_input,
    index,
    layer_norm,
    length_of,
    linear,
    lookup,
    merge_heads,
    split_heads,
)
from fleet_server.engines.openvino.encoder.parts import Encoder, prefix_of
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors

WORDS = "embeddings.word_embeddings.weight"


def build(arch: EncoderArchitecture, tensors: EncoderTensors, *, with_types: bool) -> Encoder:
    """The encoder. `with_types` adds an input for token types, which are 0 otherwise.

    Raises LoadError naming a tensor that is missing or of another shape.
    """
    prefix = prefix_of(tensors, WORDS)
    ids, mask = ids_input("input_ids"), ids_input("attention_mask")
    types = ids_input("token_type_ids") if with_types else None
    x = _embed(arch, tensors, f"{prefix}embeddings.", ids, types)
    bias = additive_mask(mask)
    for layer in range(arch.layers):
        x = _layer(arch, tensors, f"{prefix}encoder.layer.{layer}.", x, bias)
    inputs = [ids, mask] if types is None else [ids, mask, types]
    return Encoder(inputs, mask, x, prefix)


def _embed(
    arch: EncoderArchitecture, tensors: EncoderTensors, base: str, ids: Node, types: Node | None
) -> Node:
    x = lookup(tensors, f"{base}word_embeddings.weight", (arch.vocab_size, arch.hidden), ids)
    table = tensors.take(f"{base}position_embeddings.weight", (arch.positions, arch.hidden))
    kinds = tensors.take(f"{base}token_type_embeddings.weight", (arch.type_vocab, arch.hidden))
    table = table[arch.position_offset :]
    if types is None:
        table = table + kinds[0]
    else:
        x = op.add(x, op.gather(constant(kinds), types, index(0)))
    rows = op.slice(
        constant(np.ascontiguousarray(table)), axes(0), length_of(ids), axes(1), axes(0)
    )
    return layer_norm(op.add(x, rows), tensors, f"{base}LayerNorm", arch.hidden, arch.norm_eps)


def _layer(
    arch: EncoderArchitecture, tensors: EncoderTensors, base: str, x: Node, bias: Node
) -> Node:
    size, eps = arch.hidden, arch.norm_eps
    attended = _attention(arch, tensors, f"{base}attention.self.", x, bias)
    dense = linear(attended, tensors, f"{base}attention.output.dense", size, size)
    x = layer_norm(op.add(dense, x), tensors, f"{base}attention.output.LayerNorm", size, eps)
    inner = tensors.shape(f"{base}intermediate.dense.weight")[0]
    grown = linear(x, tensors, f"{base}intermediate.dense", inner, size)
    shrunk = linear(activate(grown, arch.activation), tensors, f"{base}output.dense", size, inner)
    return layer_norm(op.add(shrunk, x), tensors, f"{base}output.LayerNorm", size, eps)


def _attention(
    arch: EncoderArchitecture, tensors: EncoderTensors, base: str, x: Node, bias: Node
) -> Node:
    def heads(name: str) -> Node:
        flat = linear(x, tensors, f"{base}{name}", arch.hidden, arch.hidden)
        return split_heads(flat, arch.heads, arch.head_size)

    attended = op.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), bias)
    return merge_heads(attended, arch.hidden)
