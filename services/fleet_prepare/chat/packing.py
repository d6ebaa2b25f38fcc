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
WIDTHS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Shares of a group's range that the 16 levels are tried over."""
AT_ONCE = 1 << 18
"""Numbers fitted at once: the arrays in between stay in the processor's cache."""
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
    """Unsigned 4 bits, rounded to the nearest; columns are a multiple of GROUP."""
    scale, zero = fit4(rows, np.ones(rows.shape[1], np.float32))
    q = rows.reshape(len(rows), -1, GROUP) / scale
    q += zero
    np.clip(np.rint(q, out=q), 0, INT4_MOST, out=q)
    return Packed4(nibbles(q.astype(np.uint8)), scale, zero)


def fit4(rows: Float32, importance: Float32) -> tuple[Float32, Float32]:
    """Scale and zero point of each group, `[rows, groups, 1]`, of little weighted squared error.

    Ranges of several widths are tried; for each, scale and zero point are then fitted to the
    rounded numbers by least squares. `importance` holds a weight for each column.
    """
    step = max(1, AT_ONCE // rows.shape[1])
    parts = [_fit(rows[start : start + step], importance) for start in range(0, len(rows), step)]
    scales, zeros = zip(*parts, strict=True)
    return np.concatenate(scales), np.concatenate(zeros)


def _fit(rows: Float32, importance: Float32) -> tuple[Float32, Float32]:
    groups = rows.reshape(len(rows), -1, GROUP)
    weight = importance.reshape(1, -1, GROUP)
    low = groups.min(axis=2, keepdims=True)
    high = groups.max(axis=2, keepdims=True)
    floor = np.maximum(np.maximum(-low, high) * LEAST_SPAN / INT4_MOST, LEAST_SCALE)
    total = weight.sum(axis=2, keepdims=True)
    mean = _dot(weight, groups) / total
    centred = groups - mean
    least = np.full(low.shape, np.inf, np.float32)
    scale, zero = np.empty_like(low), np.empty_like(low)
    for width in WIDTHS:
        step = np.maximum((high - low) * (width / INT4_MOST), floor)
        begin = (low + high - INT4_MOST * step) / 2
        q = np.clip(np.rint((groups - begin) / step), 0, INT4_MOST)
        weighted = weight * q
        middle = weighted.sum(axis=2, keepdims=True) / total
        variance = _dot(weighted, q) / total - middle**2
        covariance = _dot(weighted, centred) / total
        fitted = np.maximum(covariance / np.maximum(variance, LEAST_SCALE), floor)
        start = middle - mean / fitted
        q = np.clip(np.rint(groups / fitted + start), 0, INT4_MOST)
        error = _dot(weight, np.square((q - start) * fitted - groups))
        better = error < least
        np.copyto(least, error, where=better)
        np.copyto(scale, fitted, where=better)
        np.copyto(zero, start, where=better)
    return scale, zero


def _dot(first: Float32, second: Float32) -> Float32:
    product: Float32 = np.einsum("rgc,rgc->rg", *np.broadcast_arrays(first, second))[..., None]
    return product


def nibbles(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Numbers below 16, two a byte."""
    flat = values.reshape(-1)
    return (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)
