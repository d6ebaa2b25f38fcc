"""Sends the head of an answer together with the beginning of its body. Used by `protocol`.

uvicorn writes them one after the other. Each write is a system call here and wakes the client
there: together about a tenth of what a small answer costs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedTransport:
    """The transport of one connection of `protocol`.

    A head waits for the next write, at most to the end of this turn of the loop. All else is done
    at once, in the order it is called.
    """

    def __init__(self, transport: asyncio.Transport, protocol: HttpToolsProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._begun: object = None
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write, what waits first."""
        if self._head:
            data, self._head = self._head + data, b""
        else:
            cycle = self._protocol.cycle
            # What is written first after the start of an answer is its head.
            if cycle is not self._begun and cycle is not None and cycle.response_started:
                self._begun, self._head = cycle, data
                self._protocol.loop.call_soon(self._flush)
                return
        self._transport.write(data)

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def write_eof(self) -> None:
        """Write no more once all is written."""
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
