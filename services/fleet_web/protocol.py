"""uvicorn's HTTP protocol with limits on both ends of a request, and refusals in one shape.

uvicorn times idle keep-alive connections only: a client that opens a connection and sends half a
head, or that stops reading its answer, would keep it for ever, and a head without end would fill
the memory.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fleet_contract.errors import BadRequest, FleetError, RequestTimeout
from fleet_web.client import KEY, Client
from fleet_web.joined import JoinedTransport

MAX_HEAD_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
"""How long a refused client may still send: closing at once would take the answer from it."""


class HeadTooLarge(FleetError):
    status: ClassVar[int] = 431
    type = "invalid_request_error"
    default_code = "headers_too_large"


REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def refusal(error: FleetError) -> bytes:
    """A whole HTTP/1.1 response that closes the connection."""
    body = json.dumps(error.body()).encode()
    head = (
        f"HTTP/1.1 {error.status} {REASONS[error.status]}\r\ncontent-type: application/json\r\n"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def with_timeouts(seconds: float) -> type[HttpToolsProtocol]:
    """A protocol class that waits `seconds` for progress on a request's head and on an answer."""

    class TimedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _in_head = True
        _head_bytes = 0
        _write_timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            self._clients: deque[Client] = deque()
            """Of the requests not yet answered, in order: several where one did not wait."""
            self._joined = JoinedTransport(transport, self.loop)
            super().connection_made(cast(asyncio.Transport, self._joined))
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            self._stop_watching()
            super().connection_lost(exc)
            while self._clients:
                self._clients.popleft().left()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            if self._in_head:
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge(f"The head exceeds {MAX_HEAD_BYTES} bytes."))
                    return
                self._head_bytes += len(data)
            super().data_received(data)
            # Most heads come whole: only one that has not ended needs a timer.
            if self._in_head and not self._refused:
                self._start_timer()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True
            self._head_bytes = 0

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_timer()
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                self._joined.begin(self.cycle)
                client = Client(self.cycle)
                self._clients.append(client)
                cast(dict[str, Any], self.cycle.scope)[KEY] = client

        def on_response_complete(self) -> None:
            self._clients.popleft().answered()
            super().on_response_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(BadRequest("The request is not valid HTTP/1.1.", code="invalid_http"))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch(self.transport.get_write_buffer_size())

        def resume_writing(self) -> None:
            self._stop_watching()
            super().resume_writing()

        def _watch(self, size: int) -> None:
            self._stop_watching()
            self._write_timer = self.loop.call_later(seconds, self._check_progress, size)

        def _stop_watching(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _check_progress(self, before: int) -> None:
            now = self.transport.get_write_buffer_size()
            if now < before:
                self._watch(now)
            else:
                self.transport.abort()  # a close would wait for the client to read

        def _start_timer(self) -> None:
            self._stop_timer()
            self._head_timer = self.loop.call_later(seconds, self._give_up)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._refuse(
                RequestTimeout(f"The request's head made no progress for {seconds:g} seconds.")
            )

        def _refuse(self, error: FleetError) -> None:
            self._stop_timer()
            if not self._refused and not self.transport.is_closing():
                self._refused = True
                self.transport.write(refusal(error))
                if self.transport.can_write_eof():  # not over TLS
                    self.transport.write_eof()
                self.loop.call_later(LINGER_SECONDS, self.transport.close)

    return TimedProtocol
