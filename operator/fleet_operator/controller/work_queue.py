"""Queue of models to reconcile: no duplicates, one reconcile of a model at a time, delays.

A model whose reconcile fails is retried after 1 s, 2 s, 4 s and so on up to a minute.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable

from fleet_operator.controller.cache import Key

MAX_BACKOFF = 60.0
SOON_SECONDS = 0.1
"""Delay that gathers changes: a starting pod and its Deployment change several times in a row."""
SOON_KEYS = 4
"""Keys up to which the delay is that; with more at a time it is longer in proportion, because each
reconcile delays the changes themselves where the machine is shared with the API server."""
LONGEST_SOON = 1.0


class WorkQueue:
    """`take` waits until `open`. `clock` is the monotonic time of the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._later: list[tuple[float, Key]] = []
        self._due: dict[Key, float] = {}
        self._gathering: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._progressed = clock()
        self._wake = asyncio.Event()
        self._opened = asyncio.Event()
        self._next_taker = asyncio.Lock()

    def open(self) -> None:
        """Let `take` return keys, once the cache is complete."""
        self._progressed = self._clock()
        self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether `open` was called."""
        return self._opened.is_set()

    def add(self, keys: Iterable[Key]) -> None:
        """Enqueue keys; one that is being reconciled is requeued when that is done."""
        for key in keys:
            if key in self._working:
                self._again.add(key)
            elif key not in self._ready:
                self._ready[key] = self._clock()
        if self._ready:
            self._wake.set()

    def add_soon(self, keys: Iterable[Key]) -> None:
        """Enqueue keys after a short delay, so that several changes lead to one reconcile."""
        for key in keys:
            if key not in self._ready and key not in self._gathering:
                seconds = SOON_SECONDS * (len(self._gathering) + 1) / SOON_KEYS
                due = self._clock() + min(max(SOON_SECONDS, seconds), LONGEST_SOON)
                if self._add_at(key, due):
                    self._gathering[key] = due

    def add_later(self, key: Key, seconds: float) -> None:
        """Enqueue a key in `seconds`; the earlier of two delays counts."""
        if self._add_at(key, self._clock() + seconds):
            self._gathering.pop(key, None)

    async def take(self) -> Key:
        """The next key, which is being worked on until `done`."""
        await self._opened.wait()
        # One worker waits for a key, the others for their turn: each change would wake all of them.
        async with self._next_taker:
            while True:
                self._promote()
                if self._ready:
                    # A dict keeps the order of insertion: a queue without duplicates.
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._working[key] = self._clock()
                    # This reconcile sees the changes that were gathered until now.
                    if self._gathering.pop(key, None) is not None:
                        del self._due[key]
                    return key
                self._wake.clear()
                wait = self._later[0][0] - self._clock() if self._later else None
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    def done(self, key: Key, succeeded: bool, after: float = 0.0) -> None:
        """Finish a reconcile; a failed one is requeued with backoff, `after` seconds at least.

        A change of the model meanwhile does not cut `after` short: it is the API server's wait.
        """
        del self._working[key]
        self._progressed = self._clock()
        if succeeded:
            self._failures.pop(key, None)
        else:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            backoff = min(2.0 ** min(failures - 1, 10), MAX_BACKOFF)
            self.add_later(key, max(backoff, min(after, MAX_BACKOFF)))
        if key in self._again:
            self._again.discard(key)
            if after <= 0:
                self.add([key])

    def forget(self, key: Key) -> None:
        """Drop failures and delays of a deleted model."""
        self._failures.pop(key, None)
        self._due.pop(key, None)
        self._gathering.pop(key, None)

    @property
    def depth(self) -> int:
        """Number of keys that wait or are being worked on."""
        return len(self._ready) + len(self._working)

    @property
    def oldest(self) -> float:
        """Seconds of the longest reconcile or wait so far."""
        moments = [*self._working.values(), *list(self._ready.values())[:1]]
        return self._clock() - min(moments) if moments else 0.0

    @property
    def stalled(self) -> float:
        """Seconds of the longest reconcile so far, or since the last one ended while keys wait."""
        if not self.is_open:
            return 0.0
        begun = [*self._working.values()]
        for since in list(self._ready.values())[:1]:
            begun.append(max(since, self._progressed))
        return self._clock() - min(begun) if begun else 0.0

    def _add_at(self, key: Key, due: float) -> bool:
        """Enqueue a key at `due`, unless it is due earlier; returns whether it was not."""
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            # An older entry of the key stays in the heap; `_promote` skips it.
            heapq.heappush(self._later, (due, key))
            if self._later[0] == (due, key):
                self._wake.set()
            return True
        return False

    def _promote(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._gathering.pop(key, None)
                if key not in self._working and key not in self._ready:
                    self._ready[key] = now
                elif key in self._working:
                    self._again.add(key)
