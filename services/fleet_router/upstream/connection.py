"""One HTTP/1.1 connection to a model server, driven by `attempt` and kept by `pool`.

A client library costs more than all the rest of the router: measured per request, with the router
saturated by 32 clients, httpx took 2400 us of CPU, aiohttp 290 us and this protocol about 100 us,
all on uvloop. It reuses httptools, the parser uvicorn already brings.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import cast

import httptools

from fleet_router.routing.table import Endpoint

BUFFER_BYTES = 256 * 1024
"""Unread bytes of an answer after which the server is made to wait."""
MAX_HEAD_BYTES = 64 * 1024
JOINED_BYTES = 64 * 1024
"""A request's body shorter than this is sent as one piece with its head."""


class ConnectFailed(Exception):
    """No connection could be made; nothing was sent."""


class UpstreamLost(Exception):
    """The connection broke, or what came over it was not HTTP/1.1."""


class UpstreamSilent(Exception):
    """Nothing came for longer than the server may take."""


@dataclass(slots=True)
class Head:
    """Status and headers of an answer, names in lower case."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Connection(asyncio.Protocol):
    """Carries one exchange at a time: `begin`, `write`..., `read_head`, `read`... to b""."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._looks_at = 0.0
        self._write_paused = False
        self._read_paused = False
        self._keep_alive = True
        self._busy = False
        self.closed = False
        self.idle_since = 0.0
        self.begin()

    def rest(self) -> None:
        """Wait for the next exchange; anything that arrives meanwhile closes the connection."""
        self._busy = False
        self.idle_since = self._loop.time()

    def close(self) -> None:
        """Close at once; idempotent."""
        self.closed = True
        self._stop_timer()
        self._transport.abort()

    def begin(self) -> None:
        """Get ready for the next exchange."""
        self._busy = True
        self._head = Head()
        self._head_bytes = 0
        self._raw_bytes = 0
        self._head_done = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self.complete = False
        self.request_sent = False
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
            and not self._transport.get_write_buffer_size()
        )

    @property
    def at_end(self) -> bool:
        """Whether the answer has come to its end and was read."""
        return self.complete and not self._chunks

    def send(self, head: bytes, body: bytes) -> None:
        """Send a whole request. Does not wait for the server to take it: its body lies in memory
        in any case. Silent as `write`."""
        if not self.closed:
            if len(body) < JOINED_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))
        self.request_sent = True

    async def write(self, data: bytes) -> None:
        """Send; waits while the server is slow to take it. Silent once the connection is gone:
        `read_head` and `read` tell why."""
        if self.closed:
            return
        self._transport.write(data)
        while self._write_paused and not self.closed:
            self._writer = self._loop.create_future()
            await self._writer

    async def read_head(self, patience: float) -> Head:
        """The head of the answer. Raises UpstreamLost, UpstreamSilent or what `fail` was given."""
        while not self._head_done:
            await self._progress(patience)
        return self._head

    async def read(self, patience: float) -> bytes:
        """What has arrived of the body, b"" at its end. Raises as `read_head`."""
        while not self._chunks:
            if self.complete:
                return b""
            await self._progress(patience)
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._read_paused and not self.closed:
            self._read_paused = False
            self._transport.resume_reading()
        return data

    def fail(self, error: BaseException) -> None:
        """Close at once and let the reader raise `error`."""
        if self._error is None:
            self._error = error
        self.close()
        self._wake()

    async def _progress(self, patience: float) -> None:
        if self._error is not None:
            raise self._error
        self._await_progress(patience)
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _await_progress(self, patience: float) -> None:
        """Have the timer look after `patience` seconds. One that is set and comes no later stays:
        it looks again when it comes, which is cheaper than a timer for each piece."""
        self._deadline = self._loop.time() + patience
        if self._timer is not None and self._looks_at > self._deadline:
            self._stop_timer()
        if self._timer is None:
            self._look_later(patience)

    def _look_later(self, patience: float) -> None:
        self._looks_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._look, patience)

    def _look(self, patience: float) -> None:
        self._timer = None
        if self._reader is None:
            return
        if self._loop.time() < self._deadline:
            self._look_later(patience)
        else:
            self.fail(UpstreamSilent(f"nothing came for {patience:g} seconds"))

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

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._stop_timer()
        del (
            self._parser
        )  # it waiting_room this in turn, and would keep it until the collector comes
        if not self.complete and self._error is None:
            if self._head_done and exc is None and self._until_close():
                self.complete = True
            else:
                self._error = UpstreamLost(str(exc) if exc else "the server closed the connection")
        self._wake()

    def data_received(self, data: bytes) -> None:
        if not self._busy or self.complete:
            self.fail(UpstreamLost("the server sent more than its answer"))
            return
        if not self._head_done:
            self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(UpstreamLost(f"the server's answer is not HTTP/1.1: {error}"))
            return
        endless = not self._head_done and self._raw_bytes > MAX_HEAD_BYTES
        if endless or self._head_bytes > MAX_HEAD_BYTES:
            self._head_done = False
            self.fail(UpstreamLost(f"the head of the server's answer exceeds {MAX_HEAD_BYTES}"))
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

    # httptools callbacks: what follows a complete answer in the same piece is nobody's

    def on_message_begin(self) -> None:
        if self.complete:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
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
        else:
            self._head = Head()

    def _until_close(self) -> bool:
        return (
            self._head.get(b"content-length") is None
            and self._head.get(b"transfer-encoding") is None
        )


@cache
def client_tls() -> ssl.SSLContext:
    """The context of every TLS connection; making one takes tens of milliseconds."""
    return ssl.create_default_context()


async def connect(endpoint: Endpoint, patience: float) -> Connection:
    """A new connection. Raises ConnectFailed with the reason."""
    loop = asyncio.get_running_loop()
    context = client_tls() if endpoint.tls else None
    try:
        async with asyncio.timeout(patience):
            _, connection = await loop.create_connection(
                Connection, endpoint.host, endpoint.port, ssl=context
            )
    except TimeoutError as error:
        raise ConnectFailed(f"no connection within {patience:g} seconds") from error
    except OSError as error:
        raise ConnectFailed(error.strerror or str(error)) from error
    return connection
