"""The few OpenVINO operations an encoder is made of, with its weights bound to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from fleet_prepare.encoder import Activation
from fleet_server.engines.openvino.encoder.tensors import Tensors
from fleet_server.protocols import Float32

Node = Any
"""An OpenVINO node or output; the package ships no types."""

MASKED = np.float32(-65504.0)
"""Added to the score of a padding position: far below any score, finite in f16, bf16 and f32."""


def constant(values: NDArray[Any] | float | int) -> Node:
    return op.constant(values)


def axes(*values: int) -> Node:
    """A vector of axes or sizes."""
    return op.constant(np.array(values, dtype=np.int64))


def ids_input(name: str) -> Node:
    """An int32 input `[batch, length]`, both sizes free."""
    return op.parameter([-1, -1], ov.Type.i32, name=name)


def linear(x: Node, weight: Float32, bias: Float32 | None) -> Node:
    """`x @ weight.T + bias`, weight `[out, in]` as torch stores it."""
    product = op.matmul(x, op.constant(weight), False, True)
    return product if bias is None else op.add(product, op.constant(bias))


def linear_of(x: Node, tensors: Tensors, name: str, out_size: int, in_size: int) -> Node:
    """The linear layer `name`. Raises LoadError when its tensors are missing."""
    return linear(
        x, tensors.take(f"{name}.weight", (out_size, in_size)),
        tensors.take(f"{name}.bias", (out_size,)),
    )  # fmt: skip


def layer_norm(x: Node, tensors: Tensors, name: str, size: int, eps: float) -> Node:
    """Layer norm over the last axis. Raises LoadError when its tensors are missing."""
    normal = op.mvn(x, axes(-1), True, eps, "inside_sqrt")
    scaled = op.multiply(normal, op.constant(tensors.take(f"{name}.weight", (size,))))
    return op.add(scaled, op.constant(tensors.take(f"{name}.bias", (size,))))


def activate(x: Node, activation: Activation) -> Node:
    if activation == "relu":
        return op.relu(x)
    if activation == "silu":
        return op.swish(x)
    return op.gelu(x, "erf" if activation == "gelu_erf" else "tanh")


def length_of(ids: Node) -> Node:
    """Length of the second axis as `[1]`."""
    return op.gather(op.shape_of(ids), axes(1), op.constant(np.int64(0)))


def additive_mask(mask: Node) -> Node:
    """`[batch, 1, 1, length]`: 0 where `mask` is 1, MASKED where it is 0."""
    absent = op.subtract(op.constant(np.float32(1)), op.convert(mask, "f32"))
    return op.unsqueeze(op.multiply(absent, op.constant(MASKED)), axes(1, 2))


def first_token(x: Node) -> Node:
    """`[batch, hidden]` of `[batch, length, hidden]`."""
    return op.gather(x, op.constant(np.int64(0)), op.constant(np.int64(1)))
