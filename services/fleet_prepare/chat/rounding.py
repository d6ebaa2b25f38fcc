"""4-bit rounding in which later columns compensate for the errors of earlier ones.

GPTQ (Frantar et al., arxiv.org/abs/2210.17323): given the second moments of a layer's inputs, the
columns that are not rounded yet are adjusted after each column so that the layer's outputs change
least. Columns are taken in order of falling moments; scales and zero points are chosen before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.chat.packing import GROUP, INT4_MOST, Packed4, fit4, nibbles
from fleet_prepare.number_formats import Float32

BLOCK = 64
"""Columns rounded before the rest is updated in one matrix product."""
DAMPING = 0.3
"""Of the mean moment, added to each. With the usual 0.01 the rounding overfits so short a text:
errors on other text were a third larger."""
LEAST_DAMPING = 1e-12


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """What rounding needs of a layer's inputs.

    `order` is the order of the columns, `factor` `[in, in]` the upper Cholesky factor of the
    inverse moments in that order, `importance` `[in]` the moment of each column.
    """

    order: NDArray[np.int64]
    factor: Float32
    importance: Float32


def input_statistics(moments: Float32) -> InputStatistics:
    """From the second moments `[in, in]` of a layer's inputs."""
    size = len(moments)
    diagonal = np.diag(moments).astype(np.float64)
    order = np.argsort(-diagonal, kind="stable")
    damped = moments[np.ix_(order, order)].astype(np.float64)
    damping = max(DAMPING * diagonal.mean(), LEAST_DAMPING)
    damped[np.diag_indices(size)] += damping
    # With J reversing rows, inv(H) = U' U for U = inv(J chol(J H J) J), upper triangular.
    lower = np.linalg.cholesky(damped[::-1, ::-1])
    # The factor's condition is the root of the moments', so single precision is enough for it.
    upper = np.linalg.inv(lower.astype(np.float32))[::-1, ::-1]
    importance = (diagonal + damping).astype(np.float32)
    return InputStatistics(order, np.ascontiguousarray(upper), importance)


def round4(rows: Float32, inputs: InputStatistics) -> Packed4:
    """Pack rows `[out, in]` so that the outputs for such inputs change least."""
    scale, zero = fit4(rows, inputs.importance)
    groups = rows.shape[1] // GROUP
    scales = np.ascontiguousarray(scale.reshape(len(rows), groups).T)
    zeros = np.ascontiguousarray(zero.reshape(len(rows), groups).T)
    # Columns become rows: each is then contiguous.
    left = np.ascontiguousarray(rows.T[inputs.order])
    rounded = np.empty(left.shape, np.uint8)
    for start in range(0, len(left), BLOCK):
        stop = min(start + BLOCK, len(left))
        errors = np.empty((stop - start, len(rows)), np.float32)
        for column in range(start, stop):
            group = inputs.order[column] // GROUP
            values = left[column]
            q = values / scales[group]
            q += zeros[group]
            np.clip(np.rint(q, out=q), 0, INT4_MOST, out=q)
            rounded[inputs.order[column]] = q
            q -= zeros[group]
            q *= scales[group]
            error = (values - q) / inputs.factor[column, column]
            errors[column - start] = error
            later = inputs.factor[column, column + 1 : stop]
            left[column + 1 : stop] -= later[:, None] * error
        left[stop:] -= inputs.factor[start:stop, stop:].T @ errors
    return Packed4(nibbles(np.ascontiguousarray(rounded.T)), scale, zero)
