"""Builds a BERT or RoBERTa encoder, embeddings to last hidden state, out of its safetensors.

Called by the embedding and the rerank engine. The layers follow Devlin et al., "BERT", and
transformers' BertModel and XLMRobertaModel, whose tensor names they read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from openvino import opset13 as op

from fleet_server.engines.openvino.encoder.architecture import Architecture
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    activate,
    additive_mask,
    axes,
    ids_input,
    layer_norm,
    length_of,
    linear_of,
)
from fleet_server.engines.openvino.encoder.tensors import Tensors
from fleet_server.load_error import LoadError

WORDS = "embeddings.word_embeddings.weight"

UNUSED = re.compile(
    r"(^|\.)(pooler|cls|lm_head|classifier|embeddings\.position_ids|embeddings\.token_type_ids)(\.|$)"
)
"""Tensors that take no part in a last hidden state: buffers and heads of pretraining."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """`inputs` are `input_ids`, `attention_mask` and, where types differ, `token_type_ids`."""

    inputs: list[Node]
    mask: Node
    hidden: Node
    prefix: str


def build(arch: Architecture, tensors: Tensors, *, with_types: bool) -> Encoder:
    """The encoder. `with_types` adds an input of token types; without it all are 0.

    Raises LoadError naming a tensor that is missing, of another shape, or unknown.
    """
    prefix = _prefix(tensors)
    ids, mask = ids_input("input_ids"), ids_input("attention_mask")
    types = ids_input("token_type_ids") if with_types else None
    x = _embed(arch, tensors, f"{prefix}embeddings.", ids, types)
    bias = additive_mask(mask)
    for layer in range(arch.layers):
        x = _layer(arch, tensors, f"{prefix}encoder.layer.{layer}.", x, bias)
    inputs = [ids, mask] if types is None else [ids, mask, types]
    return Encoder(inputs, mask, x, prefix)


def check_all_used(tensors: Tensors) -> None:
    """Raises LoadError naming tensors that mean an architecture other than the one built."""
    unknown = [name for name in tensors.left() if not UNUSED.search(name)]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise LoadError(
            f"The weights hold {len(unknown)} tensors this encoder has no place for: {shown}.",
            "They belong to another architecture than config.json says; try `engine: torch`.",
        )


def _prefix(tensors: Tensors) -> str:
    found = [name for name in tensors.names() if name == WORDS or name.endswith(f".{WORDS}")]
    if len(found) != 1:
        raise LoadError(f"The weights have {len(found)} tensors named {WORDS!r}; one is expected.")
    return found[0].removesuffix(WORDS)


def _embed(arch: Architecture, tensors: Tensors, base: str, ids: Node, types: Node | None) -> Node:
    words = tensors.take(f"{base}word_embeddings.weight", (arch.vocab_size, arch.hidden))
    table = tensors.take(f"{base}position_embeddings.weight", (arch.positions, arch.hidden))
    kinds = tensors.take(f"{base}token_type_embeddings.weight", (arch.type_vocab, arch.hidden))
    table = table[arch.position_offset :]
    x = op.gather(op.constant(words), ids, op.constant(np.int64(0)))
    if types is None:
        table = table + kinds[0]
    else:
        x = op.add(x, op.gather(op.constant(kinds), types, op.constant(np.int64(0))))
    rows = op.slice(
        op.constant(np.ascontiguousarray(table)), axes(0), length_of(ids), axes(1), axes(0)
    )
    return layer_norm(op.add(x, rows), tensors, f"{base}LayerNorm", arch.hidden, arch.norm_eps)


def _layer(arch: Architecture, tensors: Tensors, base: str, x: Node, bias: Node) -> Node:
    size, eps = arch.hidden, arch.norm_eps
    attended = _attention(arch, tensors, f"{base}attention.self.", x, bias)
    dense = linear_of(attended, tensors, f"{base}attention.output.dense", size, size)
    x = layer_norm(op.add(dense, x), tensors, f"{base}attention.output.LayerNorm", size, eps)
    inner = tensors.shape(f"{base}intermediate.dense.weight")[0]
    grown = linear_of(x, tensors, f"{base}intermediate.dense", inner, size)
    shrunk = linear_of(
        activate(grown, arch.activation), tensors, f"{base}output.dense", size, inner
    )
    return layer_norm(op.add(shrunk, x), tensors, f"{base}output.LayerNorm", size, eps)


def _attention(arch: Architecture, tensors: Tensors, base: str, x: Node, bias: Node) -> Node:
    def heads(name: str) -> Node:
        flat = linear_of(x, tensors, f"{base}{name}", arch.hidden, arch.hidden)
        split = op.reshape(flat, axes(0, 0, arch.heads, arch.head_size), True)
        return op.transpose(split, axes(0, 2, 1, 3))

    attended = op.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), bias)
    return op.reshape(op.transpose(attended, axes(0, 2, 1, 3)), axes(0, 0, arch.hidden), True)
