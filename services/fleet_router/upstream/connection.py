"""A client's HTTP/1.1 connection to a model server, parsed by httptools.

A client library costs more than all the rest of the router: measured per request, with the router
saturated by 32 clients, httpx took 2400 us of CPU, aiohttp 290 us and this protocol about 100 us,
all on uvloop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import cast

import httptools

from fleet_router.routing.table import Endpoint

BUFFER_BYTES = 256 * 1024
"""Unread bytes of a response above which reading from the server pauses."""
MAX_HEAD_BYTES = 64 * 1024
PEER_TIMEOUT = {
    "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000
}  # fmt: skip
"""Options with which the kernel closes a connection to a node that does not respond any more: 25 s
after its last packet (the last one is in ms). A server that generates for minutes sends nothing
either, but its kernel responds. Those that the system lacks are left out."""
COPIED_BYTES = 64 * 1024
"""A shorter body is copied behind its head and sent with one system call."""


class ConnectFailed(Exception):
    """No connection could be made; nothing was sent."""


class UpstreamLost(Exception):
    """The connection was closed, or the response is not valid HTTP/1.1."""


class UpstreamSilent(Exception):
    """The server sent nothing within the timeout."""


@dataclass(slots=True)
class Head:
    """Status and headers of a response; names are in lower case."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Connection(asyncio.Protocol):
    """One exchange at a time: `start_exchange`, `send` or `write`, `read_head`, `read`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._timer_at = 0.0
        self._write_paused = False
        self._read_paused = False
        self._keep_alive = True
        self._busy = False
        self.closed = False
        self.idle_since = 0.0
        self.start_exchange()

    def set_idle(self) -> None:
        """End the exchange; anything that arrives before the next one closes the connection."""
        self._busy = False
        self.idle_since = self._loop.time()

    def close(self) -> None:
        """Close at once; idempotent."""
        self.closed = True
        self._stop_timer()
        # Not `close`, which would first wait until the write buffer is flushed to a slow server.
        self._transport.abort()

    def start_exchange(self) -> None:
        """Reset the state for the next exchange."""
        self._busy = True
        self._head = Head()
        self._head_bytes = 0
        self._raw_bytes = 0
        self._head_done = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self.complete = False
        self.request_sent = False
        self.sent_bytes = 0
        self._error: BaseException | None = None

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on this connection."""
        return (
            self.complete
            and self.request_sent
            and self._keep_alive
            and not self.closed
            and self._error is None
            # A response may come early: the rest of its request would precede the next one.
            and not self._transport.get_write_buffer_size()
        )

    @property
    def at_end(self) -> bool:
        """Whether the response is complete and was read."""
        return self.complete and not self._chunks

    def send(self, head: bytes, body: bytes | bytearray) -> None:
        """Send a whole request. Does not wait while the server reads slowly, since the body is in
        memory in any case. No error if the connection is closed, as `write`."""
        self.sent_bytes += len(head) + len(body)
        if not self.closed:
            if len(body) < COPIED_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))
        self.request_sent = True

    async def write(self, data: bytes) -> None:
        """Send; waits while the server reads slowly. No error if the connection is closed: the
        server may have responded before, and otherwise `read_head` raises the reason."""
        if self.closed:
            return
        self.sent_bytes += len(data)
        self._transport.write(data)
        # A loop, since data that arrives wakes the writer, too.
        while self._write_paused and not self.closed:
            self._writer = self._loop.create_future()
            await self._writer

    async def read_head(self, seconds: float) -> Head:
        """The head of the response. Raises UpstreamLost, UpstreamSilent after `seconds` without a
        byte, or the error passed to `fail`."""
        while not self._head_done:
            await self._wait_for_data(seconds)
        return self._head

    async def read(self, seconds: float) -> bytes:
        """The bytes of the body that have arrived, b"" at its end. Raises as `read_head`."""
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait_for_data(seconds)
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._read_paused and not self.closed:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    def fail(self, error: BaseException) -> None:
        """Close at once; the reader raises `error`."""
        if self._error is None:
            self._error = error
        self.close()
        self._wake()

    async def _wait_for_data(self, seconds: float) -> None:
        if self._error is not None:
            raise self._error
        self._set_deadline(seconds)
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        # A timer that fires earlier stays and is set again when it fires: cheaper than cancelling
        # and creating one for each chunk.
        if self._timer is not None and self._timer_at > self._deadline:
            self._stop_timer()
        if self._timer is None:
            self._start_timer(seconds)

    def _start_timer(self, seconds: float) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._check_deadline, seconds)

    def _check_deadline(self, seconds: float) -> None:
        self._timer = None
        if self._reader is None:
            return
        if self._loop.time() < self._deadline:
            self._start_timer(seconds)
        else:
            self.fail(UpstreamSilent(f"no data for {seconds:g} seconds"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _close_if_lost(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._stop_timer()
        # The parser refers to this object: the cycle would stay until the garbage collector runs.
        del self._parser
        if not self.complete and self._error is None:
            if self._head_done and exc is None and self._until_close():
                self.complete = True
            else:
                self._error = UpstreamLost(str(exc) if exc else "the server closed the connection")
        self._wake()

    def data_received(self, data: bytes) -> None:
        if not self._busy or self.complete:
            self.fail(UpstreamLost("the server sent data after its response"))
            return
        if not self._head_done:
            self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(UpstreamLost(f"the server's response is not HTTP/1.1: {error}"))
            return
        endless = not self._head_done and self._raw_bytes > MAX_HEAD_BYTES
        if endless or self._head_bytes > MAX_HEAD_BYTES:
            self._head_done = False  # `read_head` must raise, not return this head
            self.fail(UpstreamLost(f"the head of the response exceeds {MAX_HEAD_BYTES} bytes"))
            return
        if self._buffered > BUFFER_BYTES and not self._read_paused and not self.complete:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    # httptools callbacks; bytes after a complete response are ignored

    def on_message_begin(self) -> None:
        if self.complete:
            # The server sends a second response, whose rest the next request would get.
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Called for trailers of a chunked body, too; they are dropped.
        if not self._head_done:
            self._head_bytes += len(name) + len(value)
            self._head.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.complete:
            self._head.status = status
            self._head_done = True
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._chunks.append(data)
            self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._head_done:
            self.complete = True
        else:  # an informational response (1xx)
            self._head = Head()

    def _until_close(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112 section 6.3)."""
        return (
            self._head.get(b"content-length") is None
            and self._head.get(b"transfer-encoding") is None
        )


def _close_if_lost(peer: socket.socket) -> None:
    """Make the kernel detect a peer that is gone without closing its connections."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PEER_TIMEOUT.items():
        if (option := getattr(socket, name, None)) is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


@cache
def client_tls() -> ssl.SSLContext:
    """The context of all TLS connections; creating one takes tens of milliseconds."""
    return ssl.create_default_context()


async def connect(endpoint: Endpoint, seconds: float) -> Connection:
    """A new connection, made within `seconds`. Raises ConnectFailed with the reason."""
    loop = asyncio.get_running_loop()
    context = client_tls() if endpoint.tls else None
    try:
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_connection(
                Connection, endpoint.host, endpoint.port, ssl=context
            )
    except TimeoutError as error:
        raise ConnectFailed(f"no connection within {seconds:g} seconds") from error
    except OSError as error:
        raise ConnectFailed(error.strerror or str(error)) from error
    return connection
