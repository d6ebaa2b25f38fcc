"""Bounds the memory that the images of running requests take."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet_contract.errors import Timeout

BYTES_PER_PIXEL = 3
"""RGB."""


class ImageMemory:
    """At most `limit` bytes of decoded images are held; further requests wait, first come first
    served, up to `timeout` seconds. One event loop.

    A request with more waits until no other holds any: what it may have itself is limited by
    `limits.maxImages` and `images.maxPixels`.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, number: int) -> AsyncIterator[None]:
        """Hold `number` bytes once they are free. Raises Timeout."""
        number = min(number, self._limit)
        if self._waiting or self._used + number > self._limit:
            await self._wait(number)
        else:
            self._used += number
        try:
            yield
        finally:
            self._free(number)

    async def _wait(self, number: int) -> None:
        entry = (number, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._timeout):
                await entry[1]
        except (TimeoutError, asyncio.CancelledError) as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._free(0)  # those behind it may fit
            else:
                self._free(number)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Timeout(
                f"The images of other requests took all of their memory for {self._timeout:g} "
                f"seconds; please try again."
            ) from None

    def _free(self, number: int) -> None:
        self._used -= number
        while self._waiting and self._used + self._waiting[0][0] <= self._limit:
            following, waiting = self._waiting.popleft()
            self._used += following
            if not waiting.done():
                waiting.set_result(None)
