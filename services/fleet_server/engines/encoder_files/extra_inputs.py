"""Computes inputs that some graphs take besides ids and mask: token types and position ids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Fill = Callable[[Int32, Int32], Int32]
"""Computes one input: `(ids [batch, length], mask [batch, length]) -> [batch, length]`."""


def no_types(ids: Int32, mask: Int32) -> Int32:
    """Token types of single texts: all 0."""
    return np.zeros_like(ids)


def pair_types(boundary: int | None) -> Fill:
    """Token types of pairs: 0 up to the first `boundary` id, 1 after it, 0 on padding.

    Pairs are passed as ids only; `boundary` is the special token between the two texts. None, for
    a template without types, gives 0 everywhere.
    """
    if boundary is None:
        return no_types

    def types(ids: Int32, mask: Int32) -> Int32:
        ends = ids == boundary
        behind: Int32 = (np.cumsum(ends, axis=1) - ends > 0).astype(np.int32)
        return behind * mask

    return types


def positions_from(offset: int) -> Fill:
    """Position ids counted from `offset`."""

    def positions(ids: Int32, mask: Int32) -> Int32:
        row = np.arange(offset, offset + ids.shape[1], dtype=np.int32)
        return np.ascontiguousarray(np.broadcast_to(row, ids.shape))

    return positions
