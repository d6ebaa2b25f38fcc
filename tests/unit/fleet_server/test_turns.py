"""Callers take turns in a queue."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fleet_server.turns import Turns


@dataclass(eq=False)
class Item:
    name: str

    @property
    def caller(self) -> str:
        return self.name[0]


def queue(*names: str) -> tuple[Turns[Item], dict[str, Item]]:
    turns: Turns[Item] = Turns()
    items = {name: Item(name) for name in names}
    for item in items.values():
        turns.append(item)
    return turns, items


def order(turns: Turns[Item]) -> list[str]:
    return [item.name for item in turns]


def test_each_caller_has_a_turn_before_any_has_a_second() -> None:
    turns, _ = queue("a1", "a2", "a3", "b1", "c1", "c2")
    assert order(turns) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(turns) == 6


def test_a_caller_moves_to_the_end_after_its_turn() -> None:
    turns, items = queue("a1", "a2", "b1")
    turns.remove(items["a1"])
    turns.served("a")
    assert order(turns) == ["b1", "a2"]
    turns.served("nobody")
    assert turns.callers == ["b", "a"]


def test_items_of_a_caller_keep_their_order() -> None:
    turns, items = queue("a1", "a2")
    turns.remove(items["a1"])
    turns.append(items["a1"])
    assert [item.name for item in turns.of("a")] == ["a2", "a1"]
    assert items["a1"] in turns
    turns.remove(items["a1"])
    assert items["a1"] not in turns


def test_an_absent_item_cannot_be_removed() -> None:
    turns, items = queue("a1")
    turns.remove(items["a1"])
    assert (len(turns), order(turns), turns.callers) == (0, [], [])
    with pytest.raises(ValueError, match="deque"):
        turns.remove(items["a1"])
    assert turns.callers == []


def test_one_caller_alone_is_served_in_the_order_of_arrival() -> None:
    turns, _ = queue("a1", "a2", "a3")
    assert order(turns) == ["a1", "a2", "a3"]
