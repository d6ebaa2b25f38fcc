"""Numbers of 8 and 4 bits, unpacked again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_prepare.chat.packing import GROUP, Packed4, Packed8, fit4, pack4, pack8

Float32 = NDArray[np.float32]


def unpack8(packed: Packed8) -> Float32:
    return packed.q * packed.scale


def unpack4(packed: Packed4, shape: tuple[int, ...]) -> Float32:
    q = np.stack([packed.q & 15, packed.q >> 4], axis=1).reshape(shape[0], -1, GROUP)
    return (packed.scale * (q - packed.zero)).reshape(shape)


def rows(middle: float = 0.0, width: float = 0.05) -> Float32:
    return np.random.default_rng(3).normal(middle, width, (6, 4 * GROUP)).astype(np.float32)


def test_eight_bits_are_off_by_half_a_step() -> None:
    weights = rows()
    packed = pack8(weights)
    assert packed.q.dtype == np.int8
    assert (np.abs(unpack8(packed) - weights) <= packed.scale * 0.5001).all()


def test_four_bits_lose_less_than_rounding_over_the_range_of_each_group() -> None:
    weights = rows()
    packed = pack4(weights)
    assert packed.q.nbytes == weights.size // 2
    groups = weights.reshape(len(weights), -1, GROUP)
    low, high = groups.min(2, keepdims=True), groups.max(2, keepdims=True)
    step = (high - low) / 15
    plain = (np.rint((groups - low) / step) * step + low).reshape(weights.shape)
    lost = np.square(unpack4(packed, weights.shape) - weights).mean()
    assert lost < 0.95 * np.square(plain - weights).mean()


def test_important_columns_are_fitted_best() -> None:
    weights, importance = rows(), np.ones(4 * GROUP, np.float32)
    importance[::GROUP] = 1000
    scale, zero = fit4(weights, importance)
    groups = weights.reshape(len(weights), -1, GROUP)
    q = np.clip(np.rint(groups / scale + zero), 0, 15)
    lost = np.square((q - zero) * scale - groups)
    assert lost[:, :, 0].mean() < lost[:, :, 1:].mean() / 4


@pytest.mark.parametrize("middle", [0.0, 3.0, -3.0])
@pytest.mark.parametrize("width", [0.0, 1e-7, 1e-4, 30.0])
def test_groups_that_are_constant_narrow_tiny_or_far_from_zero(middle: float, width: float) -> None:
    weights = rows(middle, width)
    allowed = max(float(np.abs(weights).max()) * 2**-16, width / 2, 1e-7)
    assert np.abs(unpack4(pack4(weights), weights.shape) - weights).max() <= allowed
    assert np.abs(unpack8(pack8(weights)) - weights).max() <= np.abs(weights).max() / 127


def test_zeros_stay_zero() -> None:
    weights = np.zeros((2, GROUP), np.float32)
    assert not unpack4(pack4(weights), weights.shape).any()
    assert not unpack8(pack8(weights)).any()
