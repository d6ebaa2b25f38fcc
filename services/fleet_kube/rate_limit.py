"""A rate limit for requests, with bursts and pauses, like that of client-go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class RateLimit:
    """At most `rate` requests per second, and `burst` at once after a quiet time."""

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) / rate
        self._clock = clock
        self._sleep = sleep
        self._last = float("-inf")

    async def wait(self) -> None:
        """Wait for the turn of one request; requests take turns in the order of their calls."""
        now = self._clock()
        self._last = max(self._last + self._interval, now - self._slack)
        if self._last > now:
            await self._sleep(self._last - now)

    def pause(self, seconds: float) -> None:
        """Start no further request for `seconds`."""
        self._last = max(self._last, self._clock() + seconds)
