"""Padding and the extra inputs of graphs."""

from __future__ import annotations

from fleet_server.engines.encoder_files.extra_inputs import pair_types, positions_from
from fleet_server.engines.openvino.encoder.executor import PASS_TOKENS, pad, padded_length, parts_of


def test_lengths_are_rounded_to_few() -> None:
    assert [padded_length(n, 512) for n in (1, 4, 5, 28, 29, 63, 65, 200)] == [
        4, 4, 8, 28, 32, 64, 72, 208,
    ]  # fmt: skip
    for length in range(1, 8193):
        padded = padded_length(length, 8192)
        assert length <= padded <= max(length + 3, length * 1.125)
    assert len({padded_length(length, 8192) for length in range(1, 8193)}) < 80
    assert padded_length(250, 255) == 255
    assert padded_length(24, 24) == 24


def test_padding_is_on_the_right() -> None:
    ids, mask = pad([[5, 6], [7]], 4, pad_id=1)
    assert ids.tolist() == [[5, 6, 1, 1], [7, 1, 1, 1]]
    assert mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]


def test_values_of_extra_inputs() -> None:
    ids, mask = pad([[2, 5, 3, 6, 3], [2, 3, 3]], 6, pad_id=0)
    assert pair_types(3)(ids, mask).tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0]]
    assert pair_types(None)(ids, mask).tolist() == [[0] * 6, [0] * 6]
    assert positions_from(2)(ids, mask).tolist() == [[2, 3, 4, 5, 6, 7]] * 2


def test_a_batch_is_computed_in_parts_of_bounded_size() -> None:
    batch = [[number] * 200 for number in range(64)]
    parts = parts_of(batch, 208)
    assert [text for part in parts for text in part] == batch
    assert {len(part) for part in parts[:-1]} == {PASS_TOKENS // 208}
    assert parts_of(batch[:2], 208) == [batch[:2]]
    assert parts_of([[1] * 5000] * 2, 5120) == [[[1] * 5000]] * 2
