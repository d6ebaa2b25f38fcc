"""What follows an encoder: pooling and dense layers for embeddings, a classifier for rerank.

Called by the two engines while they build their graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from openvino import opset13 as op

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files.recipe import Dense
from fleet_server.engines.openvino.encoder.architecture import FAMILIES, Architecture
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    axes,
    first_token,
    linear,
    linear_of,
)
from fleet_server.engines.openvino.encoder.tensors import Tensors
from fleet_server.load_error import LoadError


def pool(hidden: Node, mask: Node, pooling: Pooling) -> Node:
    """`[batch, hidden]` of `[batch, length, hidden]`; `mask` is 1 on real tokens."""
    if pooling is Pooling.CLS:
        return first_token(hidden)
    real = op.convert(mask, "f32")
    if pooling is Pooling.LAST:
        last = op.subtract(op.reduce_sum(real, axes(1), True), op.constant(np.float32(1)))
        row = op.gather(hidden, op.convert(last, "i32"), op.constant(np.int64(1)), batch_dims=1)
        return op.squeeze(row, axes(1))
    summed = op.reduce_sum(op.multiply(hidden, op.unsqueeze(real, axes(2))), axes(1))
    return op.divide(summed, op.reduce_sum(real, axes(1), True))


def apply_dense(x: Node, layers: Sequence[Dense]) -> Node:
    """The dense modules of sentence-transformers, in order. Raises LoadError."""
    for layer in layers:
        tensors = Tensors.open([layer.folder / "model.safetensors"])
        bias = tensors.take("linear.bias", (layer.out_size,)) if layer.bias else None
        x = linear(x, tensors.take("linear.weight", (layer.out_size, layer.in_size)), bias)
        x = op.tanh(x) if layer.tanh else x
    return x


def classify(arch: Architecture, tensors: Tensors, prefix: str, hidden: Node) -> Node:
    """`[batch, 1]`, the logit of transformers' ...ForSequenceClassification.

    RoBERTa keeps its tanh layer inside the head, BERT in the pooler. Raises LoadError when there
    is no head or it has more than one logit.
    """
    first = first_token(hidden)
    is_roberta = FAMILIES[arch.family]
    inner, outer = (
        ("classifier.dense", "classifier.out_proj")
        if is_roberta
        else (f"{prefix}pooler.dense", "classifier")
    )
    if f"{outer}.weight" not in tensors:
        raise LoadError(
            f"The weights have no tensor '{outer}.weight': this encoder has no head that scores.",
            "Serve it with `task: embedding`, or take a cross-encoder.",
        )
    labels = tensors.shape(f"{outer}.weight")[0]
    if labels != 1:
        raise LoadError(f"Reranking needs a head of one logit; this one has {labels}.")
    squashed = op.tanh(linear_of(first, tensors, inner, arch.hidden, arch.hidden))
    return linear_of(squashed, tensors, outer, 1, arch.hidden)
