"""Float32 rows to 8- and 4-bit numbers in the forms OpenVINO multiplies without unpacking them.

8 bits: `scale * q` with one scale for each row. 4 bits: `scale * (q - zero)` with a scale and a
zero point for each group of columns; a zero point rounded to a whole number, which OpenVINO takes
as well, was measured to cost as much as the rounding of the weights. Scales and zero points are
float32, since OpenVINO would keep a float32 copy of narrower ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.number_formats import Float32

INT8_MOST = 127
INT4_MOST = 15
GROUP = 32
"""Columns that share a 4-bit scale and zero point."""
LEAST_SPAN = 2.0**-16
"""Of a group's greatest magnitude; keeps `q - zero` exact in float32 to a 16th of a step."""
LEAST_SCALE = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Packed8:
    """`q` int8 `[rows, columns]`, `scale` float32 `[rows, 1]`."""

    q: NDArray[np.int8]
    scale: Float32


@dataclass(frozen=True, slots=True)
class Packed4:
    """`q` uint8, two numbers a byte, the first in the lower half, in order of rows and columns.

    `scale` and `zero` are float32 `[rows, groups, 1]`.
    """

    q: NDArray[np.uint8]
    scale: Float32
    zero: Float32


def pack8(rows: Float32) -> Packed8:
    """Symmetric int8 with a scale for each row."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / INT8_MOST
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    q = rows / scale
    np.rint(q, out=q)
    return Packed8(q.astype(np.int8), scale)


def pack4(rows: Float32) -> Packed4:
    """Unsigned 4 bits over the range of each group; columns are a multiple of GROUP."""
    groups = rows.reshape(rows.shape[0], -1, GROUP)
    low = groups.min(axis=2, keepdims=True)
    high = groups.max(axis=2, keepdims=True)
    span = np.maximum(high - low, np.maximum(-low, high) * LEAST_SPAN)
    scale = np.maximum(span / INT4_MOST, LEAST_SCALE).astype(np.float32)
    zero = (-low / scale).astype(np.float32)
    q = groups / scale
    q += zero
    np.clip(np.rint(q, out=q), 0, INT4_MOST, out=q)
    return Packed4(_nibbles(q.astype(np.uint8)), scale, zero)


def _nibbles(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Numbers below 16, two a byte."""
    flat = values.reshape(-1)
    return (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
