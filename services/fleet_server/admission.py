"""Limits how many requests run and wait at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fleet_contract.errors import QueueFull, Timeout
from fleet_contract.spec import ModelSpec

FIRST_GUESS_SECONDS = 1.0
SMOOTHING = 0.2


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


@dataclass(slots=True)
class Slot:
    """A slot of a running request, after a wait of `queue_ms`."""

    queue_ms: float


class Admission:
    """At most `max_concurrent` requests run and `max_queue` wait, first come, first served.

    `timeout` limits the wait, in seconds.
    """

    def __init__(self, max_concurrent: int, max_queue: int, timeout: float) -> None:
        self.max_concurrent = max_concurrent
        self.max_queue = max_queue
        self.timeout = timeout
        self.running = 0
        self.waiting = 0
        self._free = asyncio.Semaphore(max_concurrent)
        self._mean_seconds = FIRST_GUESS_SECONDS

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a slot and hold it. Raises QueueFull and Timeout."""
        started = time.monotonic()
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()  # does not wait
        admitted = time.monotonic()
        self.running += 1
        try:
            yield Slot(queue_ms=(admitted - started) * 1000)
        finally:
            self.running -= 1
            self._free.release()
            self._learn(time.monotonic() - admitted)

    async def _wait(self) -> None:
        if self.waiting >= self.max_queue:
            raise QueueFull(
                f"{self.running} requests are running and {self.waiting} are waiting, the most "
                f"this server accepts; please try again.",
                retry_after=self.retry_after(),
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self.timeout):
                await self._free.acquire()
        except TimeoutError:
            raise Timeout(
                f"The request could not start within {self.timeout:g} seconds; please try again."
            ) from None
        finally:
            self.waiting -= 1

    def retry_after(self) -> float:
        """Estimated seconds until a slot is free, from the duration of recent requests; 1 to 60."""
        rounds = (self.waiting + 1) / self.max_concurrent
        return min(60.0, max(1.0, rounds * self._mean_seconds))

    def _learn(self, seconds: float) -> None:
        self._mean_seconds += SMOOTHING * (seconds - self._mean_seconds)
