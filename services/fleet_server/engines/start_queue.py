"""Generations that wait until the key/value cache has room for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic

from fleet_server.turns import Item, Turns

MOST_PASSES = 16
"""How many others may start before one whose turn it is and that does not fit yet."""


class StartQueue(Generic[Item]):
    """Callers take turns. An item that does not fit is passed by others that do, until `most` have
    passed it: then they wait for it. Not thread-safe."""

    def __init__(self, most: int = MOST_PASSES) -> None:
        self._turns: Turns[Item] = Turns()
        self._passes: Counter[Item] = Counter()
        self._most = most

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._turns)

    def append(self, item: Item) -> None:
        """Add an item after those of its caller."""
        self._turns.append(item)

    def take(self, fits: Callable[[Item], bool]) -> Item | None:
        """Remove the next item that `fits`; None if all have to wait."""
        before: list[Item] = []
        for item in self._turns:
            if fits(item):
                self.remove(item)
                self._turns.served(item.caller)
                self._passes.update(before)
                return item
            if self._passes[item] >= self._most:
                return None
            before.append(item)
        return None

    def remove(self, item: Item) -> None:
        """Remove an item. Raises ValueError if it is not in the queue."""
        self._turns.remove(item)
        del self._passes[item]

    def clear(self) -> None:
        self._turns.clear()
        self._passes.clear()
