"""Numbers of 8 and 4 bits, unpacked again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_prepare.chat.packing import GROUP, Packed4, Packed8, pack4, pack8

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


def test_four_bits_are_off_by_half_a_step() -> None:
    weights = rows()
    packed = pack4(weights)
    assert packed.q.nbytes == weights.size // 2
    step = np.repeat(packed.scale, GROUP, axis=2).reshape(weights.shape)
    assert (np.abs(unpack4(packed, weights.shape) - weights) <= step * 0.5001).all()


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
