"""Alignment heads: named by the repository, known by size, or the upper half of the decoder."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_prepare.whisper.alignment import KNOWN, alignment_heads
from fleet_prepare.whisper.shape import Shape


def shape(width: int, layers: int, vocabulary: int) -> Shape:
    heads = width // 64
    return Shape(
        vocab_size=vocabulary, num_mel_bins=80, d_model=width, encoder_layers=layers,
        encoder_attention_heads=heads, encoder_ffn_dim=4 * width, decoder_layers=layers,
        decoder_attention_heads=heads, decoder_ffn_dim=4 * width, max_source_positions=1500,
        max_target_positions=448,
    )  # fmt: skip


@pytest.mark.parametrize("size", KNOWN)
def test_the_known_heads_exist_in_a_model_of_their_size(size: tuple[int, int, int]) -> None:
    assert alignment_heads(None, shape(*size)) == KNOWN[size]
    assert len(set(KNOWN[size])) == len(KNOWN[size])


def test_named_heads_come_first() -> None:
    assert alignment_heads([[3, 5]], shape(384, 4, 51865)) == [(3, 5)]


@pytest.mark.parametrize(
    "named", [None, [], "x", [[2, 0]], [[0, 20]], [[-1, 0]], [[1]], [["a", 0]]]
)
def test_heads_that_the_decoder_lacks_are_replaced_by_its_upper_half(named: Any) -> None:
    """As distil-large has its teacher's: layers up to 25, of which it has 2."""
    assert alignment_heads(named, shape(1280, 2, 51866)) == [(1, head) for head in range(20)]


def test_one_layer_is_its_own_upper_half() -> None:
    assert alignment_heads(None, shape(64, 1, 51866)) == [(0, 0)]
