"""The cache of a batch, compared with lists of each row's tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from fleet_server.engines.torch.batch_cache import BatchCache

LAYERS, HEADS, SIZE = 2, 3, 4


def states(*shape: int) -> list[torch.Tensor]:
    """Keys and values of each layer, in turn."""
    return [torch.rand(shape) for _ in range(2 * LAYERS)]


def prefilled(tokens: int) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(LAYERS):
        cache.update(*states(1, HEADS, tokens, SIZE)[:2], layer)
    return cache


@dataclass
class Reference:
    """`rows` has `[tokens, ...]` of keys and values of every layer, by row."""

    rows: list[list[torch.Tensor]] = field(default_factory=list)

    def join(self, cache: DynamicCache) -> None:
        self.rows.append([
            each[0] for layer in cache.layers for each in (layer.keys, layer.values)
        ])  # fmt: skip

    def leave(self, row: int) -> None:
        self.rows[row] = self.rows[-1]
        self.rows.pop()

    def append(self, new: list[torch.Tensor]) -> None:
        self.rows = [
            [torch.cat([old, each[number]], 1) for old, each in zip(row, new, strict=True)]
            for number, row in enumerate(self.rows)
        ]


def step(cache: BatchCache, reference: Reference) -> None:
    """A pass of one token for each row, whose states must be those of the reference."""
    new = states(cache.rows, HEADS, 1, SIZE)
    reference.append(new)
    cache.reserve()
    length = cache.get_seq_length()
    assert cache.get_mask_sizes(1, 0) == (length + 1, 0)
    found = [
        each
        for layer in range(LAYERS)
        for each in cache.update(new[2 * layer], new[2 * layer + 1], layer)
    ]
    for number, row in enumerate(reference.rows):
        padding = cache.padding[number]
        for seen, wanted in zip(found, row, strict=True):
            assert torch.equal(seen[number, :, padding:], wanted)
            assert seen[number, :, :padding].isfinite().all()
    assert min(cache.padding) == 0
    assert {each.shape[0] for each in found} == {cache.rows}
    cache.advance()


def test_random_rows_keep_their_tokens() -> None:
    torch.manual_seed(0)
    chance = random.Random(3)
    for bounds in ((8, 2000), (3, 100), (8, 1)):
        cache, reference = BatchCache(*bounds), Reference()
        for _ in range(400):
            if cache.rows < bounds[0] and (not cache.rows or chance.random() < 0.2):
                given = prefilled(chance.choice([1, 5, 30, 150]))
                reference.join(given)
                cache.join(given)
            for row in reversed(range(cache.rows)):
                if chance.random() < 0.04:
                    cache.leave(row)
                    reference.leave(row)
            if cache.rows:
                step(cache, reference)


def test_rows_that_join_and_leave_are_the_only_ones_copied() -> None:
    cache, reference = BatchCache(8, 10_000), Reference()
    sizes = [40, 40, 40, 40]
    for size in sizes:
        given = prefilled(size)
        reference.join(given)
        cache.join(given)
    buffers = [layer.keys.data_ptr() for layer in cache.layers]
    for size in (48, 3, 20):
        cache.leave(0)
        reference.leave(0)
        given = prefilled(size)
        reference.join(given)
        cache.join(given)
        step(cache, reference)
    assert [layer.keys.data_ptr() for layer in cache.layers] == buffers


def test_moves_are_rare_and_buffers_bounded() -> None:
    cache, reference = BatchCache(4, 4000), Reference()
    for _ in range(4):
        given = prefilled(10)
        reference.join(given)
        cache.join(given)
    buffers = set()
    for _ in range(900):
        step(cache, reference)
        buffers.add(cache.layers[0].keys.data_ptr())
        rows, _, places, _ = cache.layers[0].keys.shape
        assert rows * places <= 4000
    assert len(buffers) < 12


def test_a_pass_that_failed_leaves_no_trace() -> None:
    cache, reference = BatchCache(2, 100), Reference()
    given = prefilled(5)
    reference.join(given)
    cache.join(given)
    cache.reserve()
    cache.update(*states(1, HEADS, 1, SIZE)[:2], 0)  # the second layer ran out of memory
    step(cache, reference)


def test_numbers_that_are_not_finite_stay_in_their_row() -> None:
    """The padding of a row is masked, but zero times infinity is not a number."""
    cache, reference = BatchCache(2, 1000), Reference()
    bad = prefilled(50)
    for layer in bad.layers:
        layer.keys[:] = torch.nan
    cache.join(prefilled(3))
    cache.join(bad)
    cache.leave(1)
    cache.leave(0)
    for size in (50, 2):
        given = prefilled(size)
        reference.join(given)
        cache.join(given)
    step(cache, reference)
