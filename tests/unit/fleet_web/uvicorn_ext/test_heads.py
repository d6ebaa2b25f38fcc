"""Which connections without a complete head are closed."""

from __future__ import annotations

from fleet_web.uvicorn_ext.heads import GRACE_SECONDS, MAX_HEADS, PEER_HEADS, Heads


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_oldest_connection_of_a_peer_is_evicted() -> None:
    clock = Clock()
    heads: Heads[int] = Heads(clock)
    assert heads.add("other", -1) is None
    for number in range(PEER_HEADS):
        assert heads.add("a", number) is None
    clock.now = 2 * GRACE_SECONDS
    assert heads.add("a", 1000) == 0
    heads.remove("a", 0)
    assert heads.add("a", 1001) == 1
    assert heads.add("other", -2) is None


def test_young_connections_are_kept() -> None:
    heads: Heads[int] = Heads(Clock())
    assert {heads.add("a", number) for number in range(2 * MAX_HEADS)} == {None}


def test_the_connections_of_all_peers_are_bounded() -> None:
    clock = Clock()
    heads: Heads[int] = Heads(clock)
    for number in range(MAX_HEADS):
        assert heads.add(str(number), number) is None
    clock.now = 2 * GRACE_SECONDS
    assert heads.add("new", -1) == 0


def test_removed_connections_do_not_count() -> None:
    clock = Clock()
    heads: Heads[int] = Heads(clock)
    for number in range(3 * MAX_HEADS):
        clock.now += 2 * GRACE_SECONDS
        assert heads.add("a", number) is None
        heads.remove("a", number)
    assert not heads._of_peer
