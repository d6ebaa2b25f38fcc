"""Results of queries, which concurrent viewers share and which are used again for a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Results by key, each used until `seconds` after the start of its query; errors as well."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def of(
        self,
        key: K,
        query: Callable[[], Coroutine[Any, Any, V]],
        seconds: Callable[[V], float] | None = None,
    ) -> V:
        """The result of `key`; `query` is called if there is none, or if it is too old: after
        `seconds` of the result, if given."""
        known, now = self._known.get(key), time.monotonic()
        if known is None or self._is_old(known[1], now - known[0], seconds):
            known = self._known[key] = (now, asyncio.create_task(query()))
        # Shielded: a viewer that leaves must not cancel the result of the others.
        return await asyncio.shield(known[1])

    def _is_old(
        self, task: asyncio.Task[V], age: float, seconds: Callable[[V], float] | None
    ) -> bool:
        if not task.done():
            return False
        if seconds is None or task.cancelled() or task.exception() is not None:
            return age > self._seconds
        return age > seconds(task.result())

    def keep(self, keys: Collection[K]) -> None:
        """Forget all other keys."""
        if len(self._known) > len(keys):
            self._known = {one: known for one, known in self._known.items() if one in keys}
