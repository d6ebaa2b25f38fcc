"""The OpenVINO operations of encoder graphs, bound to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from openvino.op import Constant

from fleet_prepare.encoder import Activation
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.protocols import Float32

Node = Any
"""An OpenVINO node or output; the package ships no types."""

MASKED = -65504.0
"""Added to the attention score of padding: far below any score, and finite in f16, bf16 and f32."""


def constant(values: NDArray[Any]) -> Node:
    """A constant. A writeable array is not copied; the constant keeps a reference to it."""
    return op.constant(values, shared_memory=values.flags.writeable)


def scalar(value: float) -> Node:
    return op.constant(np.float32(value))


def index(value: int) -> Node:
    """An axis, or an index along one."""
    return op.constant(np.int64(value))


def weight(tensors: EncoderTensors, name: str, shape: tuple[int, ...]) -> Node:
    """A tensor as f32, without a copy if the file stores it in a floating-point format.

    Raises LoadError if it is missing or of another shape.
    """
    stored = _stored(tensors, name, shape)
    return stored if stored.get_element_type() == ov.Type.f32 else _decompressed(stored)


def lookup(tensors: EncoderTensors, name: str, shape: tuple[int, ...], ids: Node) -> Node:
    """The rows `ids` of a table as f32; the table itself is not converted. Raises LoadError."""
    rows = op.gather(_stored(tensors, name, shape), ids, index(0))
    return rows if rows.get_element_type() == ov.Type.f32 else op.convert(rows, "f32")


def _stored(tensors: EncoderTensors, name: str, shape: tuple[int, ...]) -> Node:
    stored, array = tensors.take_stored(name, shape)
    if stored == "BF16":
        # NumPy has no bfloat16. This tensor holds no reference to its memory, so `Tensors` must
        # outlive the compiled model.
        return Constant(ov.Tensor(array, ov.Shape(list(shape)), ov.Type.bf16), shared_memory=True)
    if stored in ("F32", "F16"):
        return constant(array)
    return constant(tensors.take(name, shape))


def _decompressed(stored: Node) -> Node:
    """`stored` converted to f32, marked so that compiling does not store the converted values."""
    converted = op.convert(stored, "f32")
    converted.get_rt_info()["decompression_0"] = ""
    return converted


def axes(*values: int) -> Node:
    """A vector of axes or sizes."""
    return op.constant(np.array(values, dtype=np.int64))


def ids_input(name: str) -> Node:
    """An int32 input `[batch, length]`, both sizes free."""
    return op.parameter([-1, -1], ov.Type.i32, name=name)


def linear(
    x: Node, tensors: EncoderTensors, name: str, out_size: int, in_size: int, *, bias: bool = True
) -> Node:
    """The linear layer `name` with a weight `[out, in]`, as in torch. Raises LoadError if its
    tensors are missing."""
    product = op.matmul(x, weight(tensors, f"{name}.weight", (out_size, in_size)), False, True)
    if not bias:
        return product
    return op.add(product, constant(tensors.take(f"{name}.bias", (out_size,))))


def layer_norm(
    x: Node, tensors: EncoderTensors, name: str, size: int, eps: float, *, bias: bool = True
) -> Node:
    """Layer norm over the last axis. Raises LoadError if its tensors are missing."""
    normal = op.mvn(x, axes(-1), True, eps, "inside_sqrt")
    scaled = op.multiply(normal, constant(tensors.take(f"{name}.weight", (size,))))
    if not bias:
        return scaled
    return op.add(scaled, constant(tensors.take(f"{name}.bias", (size,))))


def rms_norm(x: Node, scale: Float32, eps: float) -> Node:
    """Zhang and Sennrich, "Root Mean Square Layer Normalization", over the last axis."""
    mean = op.reduce_mean(op.power(x, scalar(2)), axes(-1), True)
    root = op.sqrt(op.add(mean, scalar(eps)))
    normal = op.multiply(x, op.divide(scalar(1), root))
    return op.multiply(normal, constant(scale))


def activate(x: Node, activation: Activation) -> Node:
    if activation == "relu":
        return op.relu(x)
    if activation == "silu":
        return op.swish(x)
    return op.gelu(x, "erf" if activation == "gelu_erf" else "tanh")


def length_of(ids: Node) -> Node:
    """Length of the second axis as `[1]`."""
    return op.gather(op.shape_of(ids), axes(1), index(0))


def additive_mask(mask: Node) -> Node:
    """`[batch, 1, 1, length]`: 0 where `mask` is 1, MASKED where it is 0."""
    absent = op.subtract(scalar(1), op.convert(mask, "f32"))
    return op.unsqueeze(op.multiply(absent, scalar(MASKED)), axes(1, 2))


def first_token(x: Node) -> Node:
    """`[batch, hidden]` of `[batch, length, hidden]`."""
    return op.gather(x, index(0), index(1))


def split_heads(x: Node, heads: int, head_size: int) -> Node:
    """`[batch, heads, length, head_size]` of `[batch, length, heads * head_size]`."""
    return op.transpose(op.reshape(x, axes(0, 0, heads, head_size), True), axes(0, 2, 1, 3))


def merge_heads(x: Node, size: int) -> Node:
    """`[batch, length, size]` of `[batch, heads, length, head_size]`."""
    return op.reshape(op.transpose(x, axes(0, 2, 1, 3)), axes(0, 0, size), True)
