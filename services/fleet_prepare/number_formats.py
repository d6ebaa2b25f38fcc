"""Converts stored numbers to float32 with NumPy, which lacks bfloat16 and 8-bit floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

STORED: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "F8_E8M0": np.dtype("u1"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""Safetensors' names; a format that NumPy lacks is held as unsigned integers of the same size."""


def float32(stored: str, array: NDArray[Any]) -> Float32:
    """`array` as float32 of the same shape; the array itself if it is float32 already.

    Integers beyond 2**24 and float64 are rounded.
    """
    if stored == "BF16":
        # A bfloat16 is the upper half of a float32.
        wide = array.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if stored == "F8_E5M2":
        # An E5M2 is the upper half of a float16.
        return (array.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if stored in _TABLES:
        return np.take(_TABLES[stored], array)
    # Infinities and NaN are kept; whether they are allowed is checked elsewhere.
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def _e4m3() -> Float32:
    """Values of E4M3FN: bias 7, no infinities, NaN where all bits but the sign are set.

    Source: Micikevicius et al., FP8 Formats for Deep Learning, arxiv.org/abs/2209.05433, table 1.
    """
    bits = np.arange(256)
    sign = np.where(bits & 0x80, -1.0, 1.0)
    exponent, fraction = (bits >> 3) & 0xF, (bits & 7) / 8
    value = np.where(exponent == 0, fraction * 2.0**-6, (1 + fraction) * 2.0 ** (exponent - 7.0))
    value = np.where(bits & 0x7F == 0x7F, np.nan, value)
    return (sign * value).astype(np.float32)


def _e8m0() -> Float32:
    """Values of E8M0: powers of two, bias 127, 255 is NaN.

    Source: OCP Microscaling Formats (MX) Specification 1.0, section 5.4.1.
    """
    bits = np.arange(256)
    return np.where(bits == 255, np.nan, 2.0 ** (bits - 127.0)).astype(np.float32)


_TABLES = {"F8_E4M3": _e4m3(), "F8_E8M0": _e8m0()}
