"""Quantises a decoder's weights while writing them, and returns constants of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from fleet_prepare.chat import packing, rounding
from fleet_prepare.chat.calibration import Calibration
from fleet_prepare.chat.checkpoint import Checkpoint
from fleet_prepare.chat.ir_file import IrFile, Node
from fleet_prepare.chat.rounding import InputStatistics
from fleet_prepare.number_formats import Float32

KINDS = {"F64": ov.Type.f32, "F32": ov.Type.f32, "F16": ov.Type.f16, "BF16": ov.Type.bf16}
SENSITIVE = (".v_proj.weight", ".down_proj.weight")
"""8 bits instead of 4: in 4 they caused two thirds of the increase in perplexity."""


class WeightPrecision(StrEnum):
    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


class Weights:
    """Reads tensors from `checkpoint`, writes them to `file` and returns float32 nodes.

    With a `calibration`, 4-bit weights are rounded for its inputs, else to the nearest.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        file: IrFile,
        quantization: WeightPrecision,
        calibration: Calibration | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._file = file
        self._quantization = quantization
        self._calibration = calibration
        self._inputs: tuple[Float32, InputStatistics] | None = None

    def vector(self, name: str, size: int) -> Node:
        """Float32 `[size]`."""
        self._file.write(name, [self._checkpoint.vector(name, size)])
        return self._file.constant(name, ov.Type.f32, (size,))

    def matrix(self, name: str, shape: tuple[int, int]) -> Node:
        """Float32 `shape`, rows as stored (`[out, in]` of a linear layer)."""
        match self._quantization:
            case WeightPrecision.NONE:
                return self._plain(name, shape)
            case WeightPrecision.INT8:
                return self._int8(name, shape)
            case WeightPrecision.INT4:
                return (self._int8 if name.endswith(SENSITIVE) else self._int4)(name, shape)

    def table(self, name: str, shape: tuple[int, int]) -> Node:
        """A matrix that gets at least 8 bits: embeddings and the last layer."""
        if self._quantization is WeightPrecision.NONE:
            return self._plain(name, shape)
        return self._int8(name, shape)

    def _plain(self, name: str, shape: tuple[int, int]) -> Node:
        stored = self._checkpoint.stored(name)
        if stored in ("F16", "BF16"):
            self._file.write(name, self._checkpoint.raw(name, shape))
            return op.convert(self._file.constant(name, KINDS[stored], shape), "f32")
        self._file.write(name, self._checkpoint.rows(name, shape))
        return self._file.constant(name, ov.Type.f32, shape)

    def _int8(self, name: str, shape: tuple[int, int]) -> Node:
        scales: list[NDArray[Any]] = []

        def numbers() -> Iterator[NDArray[Any]]:
            for rows in self._checkpoint.rows(name, shape):
                packed = packing.pack8(rows)
                scales.append(packed.scale)
                yield packed.q

        self._file.write(name, numbers())
        self._file.write(f"{name}.scale", scales)
        q = self._file.constant(name, ov.Type.i8, shape)
        scale = self._file.constant(f"{name}.scale", ov.Type.f32, (shape[0], 1))
        return op.multiply(op.convert(q, "f32"), scale)

    def _int4(self, name: str, shape: tuple[int, int]) -> Node:
        if shape[1] % packing.GROUP:
            return self._int8(name, shape)
        inputs = self._inputs_of(name)
        scales: list[NDArray[Any]] = []
        zeros: list[NDArray[Any]] = []

        def numbers() -> Iterator[NDArray[Any]]:
            for rows in self._checkpoint.rows(name, shape):
                packed = packing.pack4(rows) if inputs is None else rounding.round4(rows, inputs)
                scales.append(packed.scale)
                zeros.append(packed.zero)
                yield packed.q

        groups = shape[1] // packing.GROUP
        self._file.write(name, numbers())
        self._file.write(f"{name}.scale", scales)
        self._file.write(f"{name}.zero", zeros)
        q = self._file.constant(name, ov.Type.u4, (shape[0], groups, packing.GROUP))
        scale = self._file.constant(f"{name}.scale", ov.Type.f32, (shape[0], groups, 1))
        zero = self._file.constant(f"{name}.zero", ov.Type.f32, (shape[0], groups, 1))
        product = op.multiply(op.subtract(op.convert(q, "f32"), zero), scale)
        return op.reshape(product, op.constant(np.array(shape, dtype=np.int64)), False)

    def _inputs_of(self, name: str) -> InputStatistics | None:
        if self._calibration is None:
            return None
        moments = self._calibration.moments(name)
        # Layers that share their input are next to each other.
        if self._inputs is None or self._inputs[0] is not moments:
            self._inputs = moments, rounding.input_statistics(moments)
        return self._inputs[1]
