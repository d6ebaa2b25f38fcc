"""Limits how many requests run and wait at the same time, with fair turns among callers.

A free slot goes to the waiting caller with the fewest running requests, among equals to the one
served least recently, and among the requests of one caller to the first. Engines with queues of
their own therefore see requests in fair order, and `Slot.caller` lets them keep turns among the
parts of requests.

One caller may use the whole queue while it is alone. While there are others it may hold `share` of
it, and in a full queue a caller takes a place from the one with the most: that caller's newest
waiting request is refused. For `OTHERS_SECONDS` after another caller's request it may not take the
last quarter of the slots: without it, one who returns would wait until a long request ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fleet_contract.errors import QueueFull, Timeout
from fleet_contract.spec import ModelSpec
from fleet_server.caller import current_caller

FIRST_GUESS_SECONDS = 1.0
SMOOTHING = 0.2
MOST_REMEMBERED = 4096
"""Callers whose last turn is remembered."""
OTHERS_SECONDS = 60.0
"""How long slots are kept free for a caller after its last request started."""


def passes_at_once(spec: ModelSpec, model: Any) -> int:
    """How many passes run at the same time, each on the whole device: `passes` of the model
    (default 1), limited by `limits.maxConcurrent`. Concurrent lanes of a CPU count as one pass."""
    own: int = getattr(model, "passes", 1)
    return min(own, spec.limits.max_concurrent or own)


def places(spec: ModelSpec, model: Any) -> int:
    """How many requests run at the same time: enough to fill the passes of `model`.

    An engine's `max_concurrent` takes precedence; for chat it is the size of the batch. An encoder
    gets the requests of its running passes and of the next one, which is formed meanwhile.
    """
    own: int | None = getattr(model, "max_concurrent", None)
    if own is not None:
        return own
    together = 1
    if spec.batching.enabled:
        together = min(spec.batching.max_size or spec.pass_size, spec.pass_size)
    lanes: int = getattr(model, "most_lanes", 1)
    return max(together * (passes_at_once(spec, model) + 1), lanes + 1)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of a running request of `caller`, after a wait of `queue_ms`."""

    queue_ms: float
    caller: str = ""


@dataclass(frozen=True, slots=True)
class _Turn:
    """The last start of a caller's request: its number, and the clock's seconds."""

    number: int
    started: float


class Admission:
    """At most `max_concurrent` requests run and `max_queue` wait.

    `timeout` limits the wait, in seconds; `share` is between 0 and 1. Of one caller at most
    `caller_slots` requests run, by default as many as of all.
    """

    def __init__(
        self,
        max_concurrent: int,
        max_queue: int,
        timeout: float,
        share: float = 1.0,
        caller_slots: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_concurrent = max_concurrent
        self.max_queue = max_queue
        self.timeout = timeout
        self.running = 0
        self._share = max(1, int(max_queue * share))
        self._caller_slots = caller_slots or max_concurrent
        self._mean_seconds = FIRST_GUESS_SECONDS
        self._running_of: Counter[str] = Counter()
        self._waiting_of: dict[str, deque[asyncio.Future[None]]] = {}
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        self._turn = 0
        self._clock = clock
        self._ended = clock()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one runs or waits."""
        return 0.0 if self.running or self._waiting_of else self._clock() - self._ended

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(map(len, self._waiting_of.values()))

    @asynccontextmanager
    async def slot(self, caller: str | None = None) -> AsyncIterator[Slot]:
        """Wait for a slot and hold it; `caller` is that of the current request by default.

        Raises QueueFull and Timeout.
        """
        caller = current_caller() if caller is None else caller
        started = self._clock()
        # A caller that waits while a slot is free may not have more slots.
        if self.running < self.max_concurrent and self._may_start(caller):
            self._start(caller)
        else:
            await self._wait(caller)
        admitted = self._clock()
        try:
            yield Slot((admitted - started) * 1000, caller)
        finally:
            self._end(caller)
            self._learn(self._clock() - admitted)

    def take_free(self, caller: str) -> bool:
        """Take a further slot for a running request of `caller`, to be given back with `free`.

        False if none is free, or if requests wait for one.
        """
        if self.running >= self.max_concurrent or self.waiting or not self._may_start(caller):
            return False
        self._start(caller)
        return True

    def free(self, caller: str) -> None:
        """Give back a slot of `take_free`."""
        self._end(caller)

    async def _wait(self, caller: str) -> None:
        self._check_room(caller)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_of.setdefault(caller, deque()).append(started)
        try:
            async with asyncio.timeout(self.timeout):
                await started
        except TimeoutError:
            self._leave(caller, started)
            raise Timeout(
                f"The request could not start within {self.timeout:g} seconds; please try again."
            ) from None
        except asyncio.CancelledError:
            self._leave(caller, started)
            raise

    def _leave(self, caller: str, waiting: asyncio.Future[None]) -> None:
        """Remove a request that stops waiting, or give back the slot it has just been given."""
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self._end(caller)
        else:
            self._forget(caller, waiting)

    def _check_room(self, caller: str) -> None:
        """Raise QueueFull, or make room in a full queue, if the caller may not wait as it is."""
        own = len(self._waiting_of.get(caller, ()))
        others = (self._waiting_of.keys() | self._running_of.keys()) - {caller}
        if own >= self._share and others:
            raise self._full(f"{own} of your requests are waiting, the most while others wait")
        if self.waiting < self.max_queue:
            return
        longest = max(self._waiting_of, key=lambda each: len(self._waiting_of[each]), default=None)
        if longest is None or len(self._waiting_of[longest]) <= own + 1:
            raise self._full(
                f"{self.running} requests are running and {self.waiting} are waiting, the most "
                f"this server accepts"
            )
        newest = self._waiting_of[longest][-1]
        self._forget(longest, newest)
        newest.set_exception(
            self._full("The queue is full, and most of the waiting requests are yours")
        )

    def _full(self, reason: str) -> QueueFull:
        return QueueFull(f"{reason}; please try again.", retry_after=self.retry_after())

    def _start(self, caller: str) -> None:
        self.running += 1
        self._running_of[caller] += 1
        self._turn += 1
        self._turns[caller] = _Turn(self._turn, self._clock())
        self._turns.move_to_end(caller)
        if len(self._turns) > MOST_REMEMBERED:
            self._turns.popitem(last=False)

    def _end(self, caller: str) -> None:
        self.running -= 1
        self._ended = self._clock()
        self._running_of[caller] -= 1
        if not self._running_of[caller]:
            del self._running_of[caller]
        while self.running < self.max_concurrent:
            following = min(
                filter(self._may_start, self._waiting_of),
                key=lambda each: (self._running_of[each], self._last(each)),
                default=None,
            )
            if following is None:
                return
            waiting = self._waiting_of[following][0]
            self._forget(following, waiting)
            if not waiting.done():  # it may have been cancelled in this turn of the loop
                self._start(following)
                waiting.set_result(None)

    def _may_start(self, caller: str) -> bool:
        most = self._caller_slots
        if self._has_others(caller):
            most = min(most, self.max_concurrent - self.max_concurrent // 4)
        return self._running_of[caller] < most

    def _has_others(self, caller: str) -> bool:
        """Whether a request of another caller runs or started within `OTHERS_SECONDS`."""
        if self._running_of[caller] < self.running:
            return True
        last = next((turn for each, turn in reversed(self._turns.items()) if each != caller), None)
        return last is not None and self._clock() - last.started < OTHERS_SECONDS

    def _last(self, caller: str) -> int:
        return self._turns[caller].number if caller in self._turns else 0

    def _forget(self, caller: str, waiting: asyncio.Future[None]) -> None:
        queue = self._waiting_of.get(caller)
        if queue is None or waiting not in queue:
            return
        queue.remove(waiting)
        if not queue:
            del self._waiting_of[caller]

    def retry_after(self) -> float:
        """Estimated seconds until a slot is free, from the duration of recent requests; 1 to 60."""
        rounds = (self.waiting + 1) / self.max_concurrent
        return min(60.0, max(1.0, rounds * self._mean_seconds))

    def _learn(self, seconds: float) -> None:
        self._mean_seconds += SMOOTHING * (seconds - self._mean_seconds)
