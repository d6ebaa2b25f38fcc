"""Least load, and consistent hashing with bounded loads."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet_router.routing.table import Endpoint
from fleet_router.upstream.balance import LIGHT_LOAD, MAX_OVER_MEAN, least_load, prefix_hash

FOUR = tuple(Endpoint(f"m-{n}", f"10.0.0.{n}", 8000) for n in range(4))
KEYS = [f"key-{n}".encode() for n in range(2000)]


def idle(endpoint: Endpoint) -> float:
    return 0.0


def test_the_least_loaded_is_chosen_and_ties_alternate() -> None:
    loads = dict(zip(FOUR, (3.0, 1.0, 2.0, 1.0), strict=True))
    assert least_load(FOUR, loads.__getitem__) == FOUR[1]
    assert {least_load(FOUR, loads.__getitem__, turn) for turn in range(4)} == {FOUR[1], FOUR[3]}
    assert [least_load(FOUR, idle, turn) for turn in range(4)] == list(FOUR)
    assert least_load((), idle) is None
    assert least_load(FOUR[:1], idle, 7) == FOUR[0]


def test_a_key_keeps_its_server_and_all_servers_have_keys() -> None:
    owners = Counter(prefix_hash(FOUR, idle, key) for key in KEYS)
    assert set(owners) == set(FOUR)
    assert min(owners.values()) > len(KEYS) / len(FOUR) / 2
    assert all(prefix_hash(FOUR[::-1], idle, k) == prefix_hash(FOUR, idle, k) for k in KEYS)


def test_routers_of_all_versions_choose_the_same_server() -> None:
    """While routers are upgraded, a conversation must stay with its server."""
    chosen = [prefix_hash(FOUR, idle, key) for key in KEYS[:12]]
    assert [FOUR.index(one) for one in chosen if one] == [2, 1, 0, 2, 3, 0, 2, 1, 2, 2, 2, 2]


def test_removing_a_server_moves_its_own_keys_only() -> None:
    for key in KEYS:
        before = prefix_hash(FOUR, idle, key)
        after = prefix_hash(FOUR[:3], idle, key)
        assert after == before or before == FOUR[3]


def test_no_server_is_loaded_beyond_the_bound() -> None:
    loads: Counter[Endpoint] = Counter()
    for number in range(1, 401):
        chosen = prefix_hash(FOUR, lambda each: float(loads[each]), b"one hot key")
        assert chosen is not None
        assert loads[chosen] <= max(LIGHT_LOAD, MAX_OVER_MEAN * number / len(FOUR))
        loads[chosen] += 1
    assert len(loads) == len(FOUR)


def test_a_server_is_skipped_only_above_a_quarter_more_than_the_mean() -> None:
    owner = prefix_hash(FOUR, idle, b"one hot key")
    assert owner is not None
    others = {one: 10.0 for one in FOUR if one != owner}
    # With the request the mean is (load + 30 + 2) / 4: the bound of 1.25 is met by 160 / 11.
    for load, kept in ((14.5, True), (14.6, False)):
        loads = {**others, owner: load}
        assert (prefix_hash(FOUR, loads.__getitem__, b"one hot key", 2.0) == owner) is kept


def test_equal_prefixes_share_a_server_while_load_is_light() -> None:
    loads = dict.fromkeys(FOUR, 3.0)
    loads[FOUR[0]] = 0.0
    owners = {prefix_hash(FOUR, loads.__getitem__, key) for key in KEYS}
    assert owners == set(FOUR)


@pytest.mark.parametrize("count", [0, 1])
def test_few_servers_need_no_ring(count: int) -> None:
    assert prefix_hash(FOUR[:count], idle, b"k") == (FOUR[0] if count else None)
