"""uvicorn's HTTP protocol with bounds for all that is not body, and timeouts.

uvicorn times only idle keep-alive connections: a client that opens a connection and sends half a
head, or that stops reading its response, would keep it for ever. A head or a trailer without end,
or pipelined requests without number, would fill the memory, and a request whose response is
complete could go on for ever.
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
from fleet_web.uvicorn_ext.heads import Heads
from fleet_web.uvicorn_ext.idle import IdleConnections, idle_limit
from fleet_web.uvicorn_ext.request_parser import RequestParser
from fleet_web.uvicorn_ext.transport import CoalescingTransport

MAX_HEAD_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 1024 * 1024
"""How long and how much a client may still send after the response: closing at once would reset
the connection, and the client would lose the response. More than the largest recording by
default, since many clients read no response before they have sent all."""
MAX_PIPELINED = 32
"""Requests of a connection without a complete response, one of which runs. uvicorn keeps as many as
a client sends, each in 30 times the memory of a short head."""

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
    """A protocol class that closes a connection on which a request's head does not arrive within
    `seconds`, or the reading of a response makes no progress for as long."""

    heads: Heads[TimedProtocol] = Heads()
    idle: IdleConnections[TimedProtocol] = IdleConnections(idle_limit())

    class TimedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _in_head = True
        """Between two requests as well."""
        _begun = False
        """Whether any byte of the next request's head has arrived."""
        _overhead = 0
        """Bytes of the request that are not body: its head, the framing of chunks, trailers."""
        _body_bytes = 0
        _body_read = 0
        """Of these, the bytes in the data that is being parsed."""
        _fresh = False
        """Whether the data that is being parsed has the beginning or end of a head or request."""
        _since_body = 0
        """Bytes since the last byte of the body."""
        _linger_timer: asyncio.TimerHandle | None = None
        _linger_left = LINGER_BYTES
        _write_timer: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: Any) -> None:
            self._clients: deque[ConnectionClient] = deque()
            """Of requests without a complete response, in order; several when pipelined."""
            self._coalescing = CoalescingTransport(transport, self.loop, self._lingers)
            super().connection_made(cast(asyncio.Transport, self._coalescing))
            self.parser = cast(Any, RequestParser(self))
            self._peer = self.client[0] if self.client else ""
            self._start_head_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_linger_timer()
            self._stop_write_timer()
            idle.remove(self)
            super().connection_lost(exc)
            self._abandon()

        def data_received(self, data: bytes) -> None:
            size = len(data)
            idle.remove(self)
            if self._refused or self._linger_timer is not None:
                self._linger_left -= size
                if self._linger_left < 0:
                    self.transport.abort()
                    return
                # The parser must not see what follows a refused request.
                if self._refused:
                    return
            idle_timer, self._body_read, self._fresh = self.timeout_keep_alive_task, 0, False
            super().data_received(data)
            if self._refused or self.transport.is_closing():
                return
            if self._fresh:  # it may belong to earlier requests
                self._overhead = self._since_body = 0
                size = self._body_read = 0
            if self._in_head:
                self._count_head(size, idle_timer)
            elif size != self._body_read:
                self._count_framing(size - self._body_read)

        def _count_head(self, size: int, idle_timer: asyncio.TimerHandle | None) -> None:
            self._overhead += size
            if self._overhead > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge(f"The head exceeds {MAX_HEAD_BYTES} bytes."))
            elif self._begun:
                # After the parser: most heads arrive whole, and only an incomplete one needs it.
                if self._head_timer is None:
                    self._start_head_timer()
            elif (
                idle_timer is not None
                and self.timeout_keep_alive_task is None
                and not self._clients
            ):
                # uvicorn stopped it, but empty lines begin no request.
                self.timeout_keep_alive_task = self.loop.call_at(
                    idle_timer.when(), self.timeout_keep_alive_handler
                )
                self._became_idle()

        def _count_framing(self, size: int) -> None:
            self._overhead += size
            self._since_body = 0 if self._body_read else self._since_body + size
            # Small chunks have as much framing as content.
            if (
                self._overhead > MAX_HEAD_BYTES + self._body_bytes
                or self._since_body > MAX_HEAD_BYTES
            ):
                self._refuse(
                    HeadTooLarge(
                        f"The body's chunk sizes, extensions and trailers exceed {MAX_HEAD_BYTES}"
                        " bytes and the size of the body."
                    )
                )

        def on_message_begin(self) -> None:
            if len(self._clients) >= MAX_PIPELINED:
                # Ends the parsing; clients repeat requests without a response (RFC 9112, 9.3.2).
                raise BadRequest("Too many requests are pipelined.")
            super().on_message_begin()
            self._begun = self._fresh = True

        def on_headers_complete(self) -> None:
            self._in_head, self._begun, self._fresh = False, False, True
            self._body_bytes = 0
            self._stop_head_timer()
            super().on_headers_complete()
            self.headers = []  # of trailers, which must not become headers of the request
            self._coalescing.expect_response(self.cycle)
            client = ConnectionClient(self.cycle)
            self._clients.append(client)
            cast(dict[str, Any], self.cycle.scope)[KEY] = client

        def on_body(self, body: bytes) -> None:
            self._body_bytes += len(body)
            self._body_read += len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._in_head = self._fresh = True
            if self._linger_timer is not None:
                self._stop_linger_timer()
                if self._closes:
                    self.transport.close()
                else:
                    self.timeout_keep_alive_task = self.loop.call_later(
                        self.timeout_keep_alive, self.timeout_keep_alive_handler
                    )
                    self._became_idle()
            super().on_message_complete()

        def on_response_complete(self) -> None:
            self._clients.popleft().response_completed()
            super().on_response_complete()
            if self.timeout_keep_alive_task is not None:
                self._became_idle()
            if not self._in_head and not self._clients and self._linger_timer is None:
                self._start_linger_timer(closes=False)

        def _became_idle(self) -> None:
            longest = idle.add(self)
            if longest is not None:
                longest.timeout_keep_alive_handler()

        def send_400_response(self, msg: str) -> None:
            self._refuse(BadRequest("The request is not valid HTTP/1.1.", code="invalid_http"))

        def _lingers(self) -> bool:
            """Whether the connection has to stay open because a request goes on that has its whole
            response."""
            if (
                self._in_head
                or self._refused
                or self.cycle is None
                or not self.cycle.response_complete
                or self._linger_timer is not None
            ):
                return False
            self._start_linger_timer(closes=True)
            return True

        def _start_linger_timer(self, *, closes: bool) -> None:
            self._closes = closes
            self._linger_left = LINGER_BYTES
            # `write_eof` only ends our side, and the client can go on until this fires.
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
            if closes and self.transport.can_write_eof():  # not over TLS
                self.transport.write_eof()
            self.flow.resume_reading()

        def _stop_linger_timer(self) -> None:
            if self._linger_timer is not None:
                self._linger_timer.cancel()
                self._linger_timer = None

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
            # Armed when the connection is made, too: a client may connect and send nothing.
            self._head_timer = self.loop.call_later(seconds, self._head_timed_out)
            given_up = heads.add(self._peer, self)
            if given_up is not None:
                given_up._refuse(RequestTimeout("Too many connections send no complete head."))

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
                heads.remove(self._peer, self)

        def _head_timed_out(self) -> None:
            if self.flow.read_paused:  # while an earlier request is processed
                self._stop_head_timer()
                self._start_head_timer()
                return
            self._refuse(
                RequestTimeout(f"The request's head did not arrive within {seconds:g} seconds.")
            )

        def _refuse(self, error: FleetError) -> None:
            """Send `error` and close the connection, unless a response is being sent."""
            self._stop_head_timer()
            self._stop_linger_timer()
            if self._refused or self.transport.is_closing():
                return
            self._refused = True
            self._linger_left = LINGER_BYTES
            if self._clients and self._in_head:  # earlier requests have their responses first
                self.cycle.keep_alive = False
                return
            started = bool(self._clients) and (
                len(self._clients) > 1 or self.cycle.response_started
            )
            answered = not self._in_head and not self._clients
            self._abandon()
            if started:
                self.transport.abort()
                return
            if not answered:
                self.transport.write(raw_response(error))
            if self.transport.can_write_eof():  # not over TLS
                self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

        def _abandon(self) -> None:
            """Mark all requests without a complete response as disconnected."""
            while self._clients:
                self._clients.popleft().connection_lost()

    return TimedProtocol
