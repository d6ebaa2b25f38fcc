"""How slowly a request's body may arrive."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive

from fleet_contract.errors import RequestTimeout

READ_TIMEOUT = 30.0
READ_RATE = 1024.0
BODY_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """At least `rate` bytes a second on average in each `seconds`, or any progress if `rate` is 0;
    at most `total` seconds for the whole body."""

    seconds: float = READ_TIMEOUT
    rate: float = READ_RATE
    total: float = BODY_TIMEOUT


class PacedReceive:
    """ASGI's `receive` of one request within a pace. Only the time spent waiting for the client
    counts."""

    def __init__(self, receive: Receive, pace: Pace) -> None:
        self._receive = receive
        self._pace = pace
        self._needed = max(1.0, pace.rate * pace.seconds)
        """Bytes after which a new period begins."""
        self._period_left, self._total_left = pace.seconds, pace.total
        self._arrived = 0

    async def __call__(self) -> Message:
        """The next message. Raises RequestTimeout."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(min(self._period_left, self._total_left)):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout(self._reason()) from None
        # Not wall time since the first call: a slow consumer must not use up the client's time.
        waited = loop.time() - started
        self._period_left -= waited
        self._total_left -= waited
        self._arrived += len(message.get("body", b""))
        if self._arrived >= self._needed:
            self._period_left, self._arrived = self._pace.seconds, 0
        return message

    def _reason(self) -> str:
        if self._total_left < self._period_left:
            return f"The body did not arrive within {self._pace.total:g} seconds."
        if self._arrived:
            return (
                f"The body arrived too slowly: {self._arrived} bytes in {self._pace.seconds:g}"
                f" seconds; at least {self._pace.rate:g} a second are needed."
            )
        return f"The body made no progress for {self._pace.seconds:g} seconds."
