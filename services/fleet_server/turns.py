"""A queue in which the callers of a server take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar


class HasCaller(Protocol):
    """An item of a queue."""

    @property
    def caller(self) -> str: ...


Item = TypeVar("Item", bound=HasCaller)


class Turns(Generic[Item]):
    """Items in the order in which their callers have turns: the first item of each caller, then
    the second of each, and so on. The caller that waits longest for a turn comes first."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Item]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __contains__(self, item: Item) -> bool:
        return item in self._queues.get(item.caller, ())

    def __iter__(self) -> Iterator[Item]:
        queues = [list(queue) for queue in self._queues.values()]
        if len(queues) == 1:  # the usual case, several times as fast
            yield from queues[0]
            return
        for turn in range(max(map(len, queues), default=0)):
            yield from (queue[turn] for queue in queues if turn < len(queue))

    def unordered(self) -> Iterator[Item]:
        """The items in any order, which is faster."""
        return chain.from_iterable(self._queues.values())

    @property
    def callers(self) -> list[str]:
        """The callers in the order of their turns."""
        return list(self._queues)

    def of(self, caller: str) -> list[Item]:
        """The items of one caller, first come first."""
        return list(self._queues.get(caller, ()))

    def append(self, item: Item) -> None:
        """Add an item after those of its caller."""
        self._queues.setdefault(item.caller, deque()).append(item)

    def remove(self, item: Item) -> None:
        """Remove an item. Raises ValueError if it is not in the queue."""
        queue = self._queues.get(item.caller, deque())
        queue.remove(item)
        if not queue:
            del self._queues[item.caller]

    def served(self, caller: str) -> None:
        """Put a caller, if it has items left, behind all others."""
        if caller in self._queues:
            self._queues[caller] = self._queues.pop(caller)

    def clear(self) -> None:
        self._queues.clear()
