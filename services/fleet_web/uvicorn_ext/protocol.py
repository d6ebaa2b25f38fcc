"""uvicorn's HTTP protocol with timeouts for request heads and responses, and a bound for heads.

uvicorn times only idle keep-alive connections: a client that opens a connection and sends half a
head, or that stops reading its response, would keep it for ever, and a head without end would fill
the memory.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fleet_contract.errors import BadRequest, FleetError, RequestTimeout
from fleet_web.client import KEY
from fleet_web.errors import HeadTooLarge
from fleet_web.uvicorn_ext.client import ConnectionClient
from fleet_web.uvicorn_ext.transport import CoalescingTransport

MAX_HEAD_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
"""How long a refused client may still send: closing at once would reset the connection, and the
client would lose the response."""

REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def raw_response(error: FleetError) -> bytes:
    """A whole HTTP/1.1 response that closes the connection."""
    body = json.dumps(error.body()).encode()
    head = (
        f"HTTP/1.1 {error.status} {REASONS[error.status]}\r\ncontent-type: application/json\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def timed_protocol(seconds: float) -> type[HttpToolsProtocol]:
    """A protocol class that closes a connection on which a request's head, or the reading of a
    response, makes no progress for `seconds`."""

    class TimedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _in_head = True
        _head_bytes = 0
        _write_timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            self._clients: deque[ConnectionClient] = deque()
            """Of requests without a complete response, in order; several when pipelined."""
            self._coalescing = CoalescingTransport(transport, self.loop)
            super().connection_made(cast(asyncio.Transport, self._coalescing))
            self._start_head_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_write_timer()
            super().connection_lost(exc)
            while self._clients:
                self._clients.popleft().connection_lost()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            if self._in_head:
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge(f"The head exceeds {MAX_HEAD_BYTES} bytes."))
                    return
                self._head_bytes += len(data)
            super().data_received(data)
            # After the parser: most heads arrive whole, and only an incomplete one needs a timer.
            if self._in_head and not self._refused:
                self._start_head_timer()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True
            self._head_bytes = 0

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_head_timer()
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:  # an upgrade request gets no cycle
                self._coalescing.expect_response(self.cycle)
                client = ConnectionClient(self.cycle)
                self._clients.append(client)
                cast(dict[str, Any], self.cycle.scope)[KEY] = client

        def on_response_complete(self) -> None:
            self._clients.popleft().response_completed()
            super().on_response_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(BadRequest("The request is not valid HTTP/1.1.", code="invalid_http"))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start_write_timer(self.transport.get_write_buffer_size())

        def resume_writing(self) -> None:
            self._stop_write_timer()
            super().resume_writing()

        def _start_write_timer(self, size: int) -> None:
            self._stop_write_timer()
            self._write_timer = self.loop.call_later(seconds, self._check_write_progress, size)

        def _stop_write_timer(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _check_write_progress(self, before: int) -> None:
            now = self.transport.get_write_buffer_size()
            if now < before:
                self._start_write_timer(now)
            else:
                self.transport.abort()  # close() would wait for the client to read

        def _start_head_timer(self) -> None:
            self._stop_head_timer()
            self._head_timer = self.loop.call_later(seconds, self._head_timed_out)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_timed_out(self) -> None:
            self._refuse(
                RequestTimeout(f"The request's head made no progress for {seconds:g} seconds.")
            )

        def _refuse(self, error: FleetError) -> None:
            self._stop_head_timer()
            if not self._refused and not self.transport.is_closing():
                self._refused = True
                self.transport.write(raw_response(error))
                if self.transport.can_write_eof():  # not over TLS
                    self.transport.write_eof()
                self.loop.call_later(LINGER_SECONDS, self.transport.close)

    return TimedProtocol
