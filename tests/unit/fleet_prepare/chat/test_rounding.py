"""Rounding with second moments, measured by the error of a layer's outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.chat.packing import GROUP, Packed4, pack4
from fleet_prepare.chat.rounding import input_statistics, round4

Float32 = NDArray[np.float32]
WIDTH = 4 * GROUP
RNG = np.random.default_rng(7)
MIXING = RNG.normal(size=(WIDTH, WIDTH)) * np.exp(RNG.normal(size=(WIDTH, 1)))


def inputs(number: int) -> Float32:
    """Correlated inputs, some channels much wider than others."""
    return (RNG.normal(size=(number, WIDTH)) @ MIXING.T).astype(np.float32)


def unpacked(packed: Packed4, rows: int) -> Float32:
    q = np.stack([packed.q & 15, packed.q >> 4], axis=1).reshape(rows, -1, GROUP)
    return (packed.scale * (q - packed.zero)).reshape(rows, WIDTH)


def lost(weights: Float32, packed: Packed4, x: Float32) -> float:
    wanted = x @ weights.T
    found = x @ unpacked(packed, len(weights)).T
    return float(np.square(found - wanted).mean() / np.square(wanted).mean())


def test_outputs_of_unseen_inputs_change_less_than_by_rounding_to_the_nearest() -> None:
    weights = RNG.standard_t(5, size=(48, WIDTH)).astype(np.float32)
    seen, unseen = inputs(512), inputs(512)
    packed = round4(weights, input_statistics(seen.T @ seen / len(seen)))
    assert lost(weights, packed, unseen) < 0.6 * lost(weights, pack4(weights), unseen)


def test_uncorrelated_inputs_are_rounded_to_the_nearest() -> None:
    weights = RNG.normal(size=(8, WIDTH)).astype(np.float32)
    packed = round4(weights, input_statistics(np.eye(WIDTH, dtype=np.float32)))
    assert (packed.q == pack4(weights).q).all()


def test_inputs_that_are_always_zero_are_allowed() -> None:
    weights = RNG.normal(size=(8, WIDTH)).astype(np.float32)
    packed = round4(weights, input_statistics(np.zeros((WIDTH, WIDTH), np.float32)))
    assert np.isfinite(unpacked(packed, 8)).all()
    assert np.square(unpacked(packed, 8) - weights).mean() < 0.02
