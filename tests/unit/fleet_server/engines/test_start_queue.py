"""The order in which generations start."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fleet_server.engines.start_queue import StartQueue


@dataclass(frozen=True)
class Waiting:
    caller: str
    tokens: int = 1


def filled(*items: Waiting, most: int = 2) -> StartQueue[Waiting]:
    queue: StartQueue[Waiting] = StartQueue(most)
    for item in items:
        queue.append(item)
    return queue


def test_callers_take_turns() -> None:
    many = [Waiting("a", number) for number in range(3)]
    one, other = Waiting("b"), Waiting("c")
    queue = filled(*many, one, other)
    found = [queue.take(lambda _: True) for _ in range(len(queue))]
    assert found == [many[0], one, other, many[1], many[2]]
    assert (len(queue), queue.take(lambda _: True)) == (0, None)


def test_one_that_does_not_fit_is_passed_a_bounded_number_of_times() -> None:
    large = Waiting("a", 100)
    small = [Waiting("b", number) for number in range(4)]
    queue = filled(large, *small)

    def take(room: int) -> Waiting | None:
        return queue.take(lambda item: item.tokens <= room)

    assert [take(50), take(50), take(50)] == [small[0], small[1], None]
    assert [take(100), take(50), take(50)] == [large, small[2], small[3]]


def test_one_that_left_is_passed_no_more() -> None:
    large, small = Waiting("a", 100), [Waiting("b", number) for number in range(3)]
    queue = filled(large, *small, most=1)
    assert queue.take(lambda item: item.tokens < 100) == small[0]
    assert queue.take(lambda item: item.tokens < 100) is None
    queue.remove(large)
    assert list(queue) == small[1:]
    assert queue.take(lambda item: item.tokens < 100) == small[1]
    with pytest.raises(ValueError, match="deque"):
        queue.remove(large)
    queue.clear()
    assert len(queue) == 0
