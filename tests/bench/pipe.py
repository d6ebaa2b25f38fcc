"""A client and a server that cost almost nothing, to measure what lies between: router benchmarks.

The server answers chats as OpenAI does, in fixed bytes over kept-alive HTTP/1.1 connections. A
prompt may say how long a model would take: `wait=50` ms to the first byte, `gap=10` ms between the
pieces of a stream. The client takes these off, so that what is left is what was added.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

MODEL = "bench-chat"
PATH = "/v1/chat/completions"
PIECES = 64
"""Pieces of text in a stream."""
CHAT = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":24,"completion_tokens":64,"total_tokens":88}}'
)
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def whole(body: bytes, kind: bytes = b"application/json") -> bytes:
    """An answer of known length."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


def stream() -> list[bytes]:
    """The pieces of a streamed chat, framed as chunks; the head is before the first."""
    events = [EVENT % (b'{"role":"assistant","content":""}', b"null")]
    events += [EVENT % (b'{"content":"word "}', b"null")] * PIECES
    events += [EVENT % (b"{}", b'"stop"') + b"data: [DONE]\n\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [STREAM_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + b"0\r\n\r\n"]


class Stub(asyncio.Protocol):
    """Requests must have a content-length; GETs are answered with an empty page."""

    answer = whole(CHAT % (b"word " * PIECES))
    empty = whole(b"", b"text/plain")
    pieces = stream()

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            size = end + 4 + length(head)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end:size], self._buffer[size:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        wait, gap = told(b"wait=", body), told(b"gap=", body)
        if head.startswith(b"GET"):
            self._write(self.empty)
        elif b'"stream":true' in body or b'"stream": true' in body:
            self._loop.call_later(wait, self._next, iter(self.pieces), gap)
        elif wait:
            self._loop.call_later(wait, self._write, self.answer)
        else:
            self._write(self.answer)

    def _next(self, pieces: Iterator[bytes], gap: float) -> None:
        piece = next(pieces, None)
        if piece is not None and not self._transport.is_closing():
            self._write(piece)
            if gap:
                self._loop.call_later(gap, self._next, pieces, gap)
            else:  # the pieces of one turn of the loop would leave as one
                self._loop.call_soon(self._next, pieces, gap)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


def length(head: bytes) -> int:
    """The content-length in a head, 0 for none."""
    at = head.lower().find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def told(name: bytes, body: bytes) -> float:
    """Seconds that a prompt gives in milliseconds, 0 where it gives none."""
    at = body.find(name)
    return int(body[at + len(name) :].split(b" ", 1)[0]) / 1000 if at >= 0 else 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A whole request; `first` and `total` are the seconds that its prompt has the server wait."""

    data: bytes
    first: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds from a request to the first byte of its answer's body, and to the last, beyond those
    the server was told to wait."""

    first: float
    total: float


class Client(asyncio.Protocol):
    """One connection: sends the next request when an answer has ended, to the end of `requests`."""

    def __init__(self, requests: Iterator[Ask], found: list[Sample]) -> None:
        self._requests = requests
        self._found = found
        self._began = self._first = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"an answer was cut off: {exc}"))

    def on_body(self, body: bytes) -> None:
        if not self._first:
            self._first = time.perf_counter()
            if self._parser.get_status_code() != 200:
                self.done.set_exception(SystemExit(f"not a 200: {body!r}"))

    def on_message_complete(self) -> None:
        ask, began = self._ask, self._began
        first, total = self._first - began - ask.first, time.perf_counter() - began - ask.total
        self._found.append(Sample(first, total))
        self._send()

    def _send(self) -> None:
        ask = next(self._requests, None)
        if self.done.done():
            return
        if ask is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._ask, self._first = ask, 0.0
        self._began = time.perf_counter()
        self._transport.write(ask.data)  # type: ignore[attr-defined]


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode() + body


def chat(*, stream: bool = False, wait: int = 0, gap: int = 0) -> Ask:
    """A short chat whose answer takes so many milliseconds."""
    prompt = f"wait={wait} gap={gap} " + "word " * 24
    asked = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    first = wait / 1000
    total = first + (len(Stub.pieces) - 1) * gap / 1000 if stream else first
    return Ask(post(PATH, json.dumps(asked).encode()), first, total)


def until(deadline: float, asks: Sequence[Ask]) -> Iterator[Ask]:
    """These over and over until that time of time.perf_counter."""
    for ask in itertools.cycle(asks):
        if time.perf_counter() >= deadline:
            return
        yield ask


async def drive(url: str, asks: Iterator[Ask], clients: int) -> list[Sample]:
    """What `clients` connections saw that share `asks`. Ends the process when one fails."""
    at = urlsplit(url)
    loop = asyncio.get_running_loop()
    found: list[Sample] = []
    made = [
        await loop.create_connection(lambda: Client(asks, found), at.hostname or "", at.port or 80)
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return found


async def serve(port: int) -> None:
    """The stub, until it is ended."""
    made = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=2048)
    await made.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
