"""Float32 rows to 8- and 4-bit numbers in the forms OpenVINO multiplies without unpacking them.

8 bits: one symmetric scale for each row. 4 bits: groups of columns, each with a scale and a whole
zero point of 4 bits, `scale * (q - zero)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.number_formats import Float32

INT8_MOST = 127
INT4_MOST = 15


@dataclass(frozen=True, slots=True)
class Packed8:
    """`q` int8 `[rows, columns]`, `scale` float32 `[rows, 1]`."""

    q: NDArray[np.int8]
    scale: Float32


@dataclass(frozen=True, slots=True)
class Packed4:
    """Two 4-bit numbers a byte, the first in the lower half.

    `q` uint8 of `rows * columns / 2` bytes, `zero` uint8 of `rows * groups / 2` bytes, rounded up,
    `scale` float16 `[rows, groups, 1]`.
    """

    q: NDArray[np.uint8]
    zero: NDArray[np.uint8]
    scale: NDArray[np.float16]


def pack8(rows: Float32) -> Packed8:
    """Symmetric int8 with a scale for each row."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / INT8_MOST
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    q = rows / scale
    np.rint(q, out=q)
    return Packed8(q.astype(np.int8), scale)


def nibbles(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Numbers below 16, two a byte, the first in the lower half; an odd last one alone."""
    flat = values.reshape(-1)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)


def group_size(columns: int) -> int | None:
    """Columns that share a 4-bit scale, or None where 4 bits do not fit."""
    for size in (64, 32):
        if columns % size == 0:
            return size
    return None


def pack4(rows: Float32, group: int) -> Packed4:
    x = rows.reshape(rows.shape[0], -1, group)
    low = np.minimum(x.min(axis=2, keepdims=True), 0)
    high = np.maximum(x.max(axis=2, keepdims=True), 0)
    scale = (high - low) / INT4_MOST
    scale = np.where(scale > 0, scale, 1).astype(np.float16).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 15)
    q = np.clip(np.rint(x / scale + zero), 0, 15).astype(np.uint8)
    return Packed4(nibbles(q), zero.astype(np.uint8), scale.astype(np.float16))
