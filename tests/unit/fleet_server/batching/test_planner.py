"""The planner: turns, bounds, padding; by table and over random queues."""

from __future__ import annotations

import random

import pytest

from fleet_server.batching.planner import PASS_TOKENS, BatchLimits, plan

WIDE = BatchLimits(max_items=32, max_tokens=8192)


@pytest.mark.parametrize(
    ("waiting", "bounds", "expected"),
    [
        ([[7]], WIDE, [(0, 0)]),
        ([[9, 8, 7]], WIDE, [(0, 0), (0, 1), (0, 2)]),
        ([[9], [8], [7]], WIDE, [(0, 0), (1, 0), (2, 0)]),
        ([[9], [8], [7]], BatchLimits(2, 8192), [(0, 0), (1, 0)]),
        ([[9], [8], [7]], BatchLimits(32, 8192, max_requests=2), [(0, 0), (1, 0)]),
        ([[9, 9], [8]], BatchLimits(32, 8192, max_requests=1), [(0, 0), (0, 1)]),
        # Others come before the second input of the first.
        ([[9, 9, 9], [9], [9]], BatchLimits(3, 8192), [(0, 0), (1, 0), (2, 0)]),
        # Of another request the input nearest in length comes first.
        ([[20], [90, 21, 5]], BatchLimits(2, 8192), [(1, 1), (0, 0)]),
        # An input too long for the budget runs by itself.
        ([[100], [90]], BatchLimits(32, 64), [(0, 0)]),
        ([[20, 20, 20]], BatchLimits(32, 40), [(0, 0), (0, 1)]),
        # Padding nine short inputs to 200 costs more than another pass.
        ([[200], *[[10]] * 9], WIDE, [(0, 0)]),
        ([[10], [200], *[[10]] * 3], WIDE, [(0, 0), (2, 0), (3, 0), (4, 0)]),
        # Padding one input by less than a pass costs is worth it.
        ([[40], [12]], WIDE, [(0, 0), (1, 0)]),
    ],
)
def test_by_table(
    waiting: list[list[int]], bounds: BatchLimits, expected: list[tuple[int, int]]
) -> None:
    assert plan(waiting, bounds) == expected


def test_a_long_list_is_cut_into_runs_of_like_length() -> None:
    rng = random.Random(3)
    lengths = sorted((rng.randint(3, 256) for _ in range(2048)), reverse=True)
    padded, real, passes = 0, sum(lengths), 0
    while lengths:
        picks = plan([lengths], WIDE)
        assert [item for _, item in picks] == list(range(len(picks)))
        padded += lengths[0] * len(picks)
        lengths = lengths[len(picks) :]
        passes += 1
    assert padded < real * 1.02
    assert passes <= 100


def test_plans_of_random_queues_respect_all_bounds() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        waiting = [
            sorted((rng.randint(1, 300) for _ in range(rng.randint(1, 12))), reverse=True)
            for _ in range(rng.randint(1, 12))
        ]
        step = rng.choice([1, 8])
        bounds = BatchLimits(
            max_items=rng.randint(1, 20),
            max_tokens=rng.randint(1, 2000),
            max_requests=rng.choice([None, 1, 3]),
            padded=lambda length, step=step: -(-length // step) * step,
        )
        picks = plan(waiting, bounds)
        lengths = [waiting[request][item] for request, item in picks]
        assert (0, 0) in picks
        assert len(set(picks)) == len(picks) <= bounds.max_items
        assert lengths == sorted(lengths, reverse=True)
        assert len(picks) == 1 or bounds.padded(lengths[0]) * len(picks) <= bounds.max_tokens
        if bounds.max_requests is not None:
            assert len({request for request, _ in picks}) <= bounds.max_requests
        for cut in range(1, len(picks)):
            saved = (len(picks) - cut) * (bounds.padded(lengths[0]) - bounds.padded(lengths[cut]))
            assert saved <= PASS_TOKENS


def test_leading_requests_fill_the_pass_before_the_others() -> None:
    waiting = [[5] * 9, [5], [5], [5] * 9]
    chosen = plan(waiting, BatchLimits(8, 10_000), leading=2)
    assert sorted(chosen) == [(0, item) for item in range(7)] + [(1, 0)]
    chosen = plan([[5], [5], [5] * 9], BatchLimits(8, 10_000), leading=2)
    assert sorted(chosen) == [(0, 0), (1, 0), *((2, item) for item in range(6))]
