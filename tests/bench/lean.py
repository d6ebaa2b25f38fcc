"""A client with negligible cost, so that the measured cost is that of the server.

Sends prepared bodies over HTTP/1.1 keep-alive connections and stores the bytes of the responses,
which are parsed and checked after the measurement.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

LAST_CHUNK = b"0\r\n\r\n"
TEXT = re.compile(rb'"content": ?"[^"]')
"""In the first event of a stream that has text."""
MOST_SECONDS = 3600
"""Limit of an exchange, so that a server that hangs does not stop a benchmark for ever."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The bodies of all responses in order of their end, the total seconds, and for each stream
    with text the seconds from its request to its first text."""

    answers: list[bytes]
    seconds: float
    firsts: list[float]


class Client(asyncio.Protocol):
    """One connection at a time; it sends the next of `left` after each response.

    A server may close a connection after a response. The next request is then sent once more, over
    a new connection, unless a part of its response has arrived.
    """

    def __init__(
        self,
        connect: Callable[[Client], Awaitable[Any]],
        head: bytes,
        left: Iterator[bytes],
        answers: list[bytes],
        firsts: list[float],
    ) -> None:
        self._connect = connect
        self._body: bytes | None = None
        self._is_new = True
        """Whether the connection has had no response yet."""
        self._head = head
        self._left = left
        self._answers = answers
        self._firsts = firsts
        self._sent = 0.0
        self._waits = False
        """For the first text."""
        self._parts: list[bytes] = []
        self._missing = -1
        """Remaining bytes of the response: -1 before its head, -2 for chunked encoding."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if self._is_new or self._missing != -1 or self._parts:
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))
        else:
            self._reconnecting = asyncio.ensure_future(self._send_again())

    async def _send_again(self) -> None:
        self._is_new = True
        try:
            await self._connect(self)
        except OSError as error:
            self.ended.set_exception(error)
        else:
            self._send()

    def send_next(self) -> None:
        self._body = next(self._left, None)
        if self._body is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._parts, self._missing = [], -1
        self._sent, self._waits = time.perf_counter(), True
        self._send()

    def _send(self) -> None:
        assert self._body is not None
        self._transport.write(b"%s%d\r\n\r\n%s" % (self._head, len(self._body), self._body))

    def data_received(self, data: bytes) -> None:
        self._is_new = False
        if self._missing == -1:
            data = b"".join([*self._parts, data])
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._parts = [data]
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.ended.set_exception(RuntimeError(data.decode(errors="replace")[:2000]))
                self._transport.close()
                return
            self._parts, data = [], rest
            self._missing = content_length(head)
        self._parts.append(data)
        if self._missing == -2:
            if self._waits and TEXT.search(b"".join(self._parts)):
                self._waits = False
                self._firsts.append(time.perf_counter() - self._sent)
            whole = data if len(data) >= 7 else b"".join(self._parts[-8:])
            ended = whole.endswith(b"\r\n" + LAST_CHUNK)
        else:
            self._missing -= len(data)
            ended = self._missing == 0
        if ended:
            raw = b"".join(self._parts)
            self._answers.append(unchunked(raw) if self._missing == -2 else raw)
            self.send_next()


def content_length(head: bytes) -> int:
    """Bytes of the body according to a head, -2 for chunked encoding."""
    lowered = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lowered:
        return -2
    return int(lowered.partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0])


def unchunked(raw: bytes) -> bytes:
    """The body of the chunked encoding of RFC 9112, section 7.1."""
    parts, at = list[bytes](), 0
    while True:
        end = raw.index(b"\r\n", at)
        size = int(raw[at:end].split(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(raw[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


async def post_all(
    url: str, path: str, bodies: Iterable[bytes], clients: int, kind: str = "application/json"
) -> Exchange:
    """Post all `bodies`, with media type `kind`, from `clients` connections.

    Raises RuntimeError for any status except 200, and TimeoutError.
    """
    split = urlsplit(url)
    assert split.hostname is not None
    assert split.port is not None
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {split.netloc}\r\ncontent-type: {kind}\r\ncontent-length: "
    ).encode()
    left, answers, firsts = iter(bodies), list[bytes](), list[float]()
    address = split.hostname, split.port

    async def connect(client: Client) -> None:
        await asyncio.get_running_loop().create_connection(lambda: client, *address)

    made = [Client(connect, head, left, answers, firsts) for _ in range(clients)]
    for client in made:
        await connect(client)
    started = time.perf_counter()
    for client in made:
        client.send_next()
    async with asyncio.timeout(MOST_SECONDS):
        await asyncio.gather(*(client.ended for client in made))
    return Exchange(answers, time.perf_counter() - started, firsts)


def exchange(
    url: str, path: str, bodies: Iterable[bytes], clients: int, kind: str = "application/json"
) -> Exchange:
    """Like `post_all`, in its own event loop."""
    return uvloop.run(post_all(url, path, bodies, clients, kind))
