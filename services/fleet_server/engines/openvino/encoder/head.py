"""The layers after an encoder: pooling and dense layers for embeddings, a classifier for rerank."""

from __future__ import annotations

from collections.abc import Sequence

from openvino import opset13 as op

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files.recipe import Dense
from fleet_server.engines.openvino.encoder.architecture import FAMILIES, EncoderArchitecture
from fleet_server.engines.openvino.encoder.nodes import (
    Node,
    axes,
    constant,
    first_token,
    index,
    linear,
    scalar,
)
from fleet_server.engines.openvino.encoder.parts import Encoder
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.load_error import LoadError


def pool(hidden: Node, mask: Node, pooling: Pooling) -> Node:
    """`[batch, hidden]` of `[batch, length, hidden]`; `mask` is 1 on real tokens."""
    if pooling is Pooling.CLS:
        return first_token(hidden)
    real = op.convert(mask, "f32")
    if pooling is Pooling.LAST:
        last = op.subtract(op.reduce_sum(real, axes(1), True), scalar(1))
        row = op.gather(hidden, op.convert(last, "i32"), index(1), batch_dims=1)
        return op.squeeze(row, axes(1))
    summed = op.reduce_sum(op.multiply(hidden, op.unsqueeze(real, axes(2))), axes(1))
    return op.divide(summed, op.reduce_sum(real, axes(1), True))


def apply_dense(x: Node, layers: Sequence[Dense]) -> Node:
    """The dense modules of sentence-transformers, in order. Raises LoadError."""
    for layer in layers:
        tensors = EncoderTensors.open([layer.folder / "model.safetensors"])
        weight = constant(tensors.take("linear.weight", (layer.out_size, layer.in_size)))
        x = op.matmul(x, weight, False, True)
        if layer.bias:
            x = op.add(x, constant(tensors.take("linear.bias", (layer.out_size,))))
        x = op.tanh(x) if layer.tanh else x
    return x


def classify(arch: EncoderArchitecture, tensors: EncoderTensors, encoder: Encoder) -> Node:
    """`[batch, 1]`, the logit of transformers' ...ForSequenceClassification.

    The layer with tanh is in the head of RoBERTa and in the pooler of BERT. Raises LoadError if
    there is no head or it has more than one logit.
    """
    inner, outer = (
        ("classifier.dense", "classifier.out_proj")
        if FAMILIES[arch.family]
        else (f"{encoder.prefix}pooler.dense", "classifier")
    )
    check_one_logit(tensors, outer)
    first = first_token(encoder.hidden)
    squashed = op.tanh(linear(first, tensors, inner, arch.hidden, arch.hidden))
    return linear(squashed, tensors, outer, 1, arch.hidden)


def check_one_logit(tensors: EncoderTensors, name: str) -> None:
    """Raise LoadError unless the linear layer `name` exists and has one output."""
    if f"{name}.weight" not in tensors:
        raise LoadError(
            f"The weights have no tensor '{name}.weight': this encoder has no head for scores.",
            "Serve it with `task: embedding`, or use a cross-encoder.",
        )
    labels = tensors.shape(f"{name}.weight")[0]
    if labels != 1:
        raise LoadError(f"Reranking needs a head of one logit; this one has {labels}.")
