"""A transport that sends the head of a response together with the beginning of its body.

uvicorn writes them one after the other. Each write is a system call here and wakes the client
there: together about a tenth of what a small response costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class CoalescingTransport:
    """The transport of one connection.

    A head is kept until the next write, at most to the end of this turn of the event loop. All
    else is passed on immediately, in the order of the calls.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        lingers: Callable[[], bool] = lambda: False,
    ) -> None:
        """`lingers` returns at `close` whether the connection has to stay open for a while; then it
        is closed by another call."""
        self._transport = transport
        self._lingers = lingers
        self._loop = loop
        self._cycle: Any = None
        self._head = b""
        self.is_closing = transport.is_closing

    def expect_response(self, cycle: Any) -> None:
        """Take for a head what is written first after `cycle`, uvicorn's RequestResponseCycle, has
        `response_started`."""
        self._cycle = cycle

    def write(self, data: bytes) -> None:
        """Write `data` after a head that was kept."""
        if self._head:
            data, self._head = self._head + data, b""
        elif self._cycle is not None and self._cycle.response_started:
            self._cycle, self._head = None, data
            # A head without a body in this turn, as of a stream, must not wait for its first chunk.
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once everything is written, unless the connection lingers."""
        self._flush()
        if not self._lingers():
            self._transport.close()

    def write_eof(self) -> None:
        """Close the write side once everything is written."""
        self._flush()
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes not yet written."""
        return len(self._head) + self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._head and not self.is_closing():
            data, self._head = self._head, b""
            self._transport.write(data)
