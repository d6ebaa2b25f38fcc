"""A client and a server with negligible cost, to measure what is between them.

The server responds to chat requests as OpenAI does, with fixed bytes over HTTP/1.1 keep-alive
connections. A prompt can contain the time of a model: `wait=50` ms to the first byte, `gap=10` ms
between the pieces of a stream. The client subtracts these, so that the added time remains.
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


def response(body: bytes, kind: bytes = b"application/json") -> bytes:
    """A response with a content-length."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


def stream() -> list[bytes]:
    """The pieces of a streamed chat as chunks; the head is before the first."""
    events = [EVENT % (b'{"role":"assistant","content":""}', b"null")]
    events += [EVENT % (b'{"content":"word "}', b"null")] * PIECES
    events += [EVENT % (b"{}", b'"stop"') + b"data: [DONE]\n\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [STREAM_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + b"0\r\n\r\n"]


class Stub(asyncio.Protocol):
    """Requests must have a content-length; the response to a GET is empty."""

    answer = response(CHAT % (b"word " * PIECES))
    empty = response(b"", b"text/plain")
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
        wait, gap = seconds_of(b"wait=", body), seconds_of(b"gap=", body)
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
            else:  # pieces written in the same iteration of the loop would be sent together
                self._loop.call_soon(self._next, pieces, gap)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


def length(head: bytes) -> int:
    """The content-length of a head, 0 if it has none."""
    at = head.lower().find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def seconds_of(name: bytes, body: bytes) -> float:
    """Seconds of a setting in a prompt in milliseconds, 0 if it is missing."""
    at = body.find(name)
    return int(body[at + len(name) :].split(b" ", 1)[0]) / 1000 if at >= 0 else 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request; `first` and `total` are the seconds that the server is to wait."""

    data: bytes
    first: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds from sending a request to the first and the last byte of the response's body, without
    the seconds that the server was to wait.
    """

    first: float
    total: float


class Client(asyncio.Protocol):
    """One connection; it sends the next of `requests` after each response."""

    def __init__(self, requests: Iterator[Request], found: list[Sample]) -> None:
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
        request, began = self._request, self._began
        first, total = (
            self._first - began - request.first,
            time.perf_counter() - began - request.total,
        )
        self._found.append(Sample(first, total))
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if self.done.done():
            return
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._request, self._first = request, 0.0
        self._began = time.perf_counter()
        self._transport.write(request.data)  # type: ignore[attr-defined]


def post(path: str, body: bytes) -> bytes:
    """A response request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode() + body


def chat(*, stream: bool = False, wait: int = 0, gap: int = 0) -> Request:
    """A short chat request with a response time in milliseconds."""
    prompt = f"wait={wait} gap={gap} " + "word " * 24
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    first = wait / 1000
    total = first + (len(Stub.pieces) - 1) * gap / 1000 if stream else first
    return Request(post(PATH, json.dumps(body).encode()), first, total)


def until(deadline: float, requests: Sequence[Request]) -> Iterator[Request]:
    """Repeat the requests until `deadline`, in seconds of time.perf_counter."""
    for request in itertools.cycle(requests):
        if time.perf_counter() >= deadline:
            return
        yield request


async def drive(url: str, requests: Iterator[Request], clients: int) -> list[Sample]:
    """The samples of `clients` connections sharing `requests`. Exits the process if one fails."""
    at = urlsplit(url)
    loop = asyncio.get_running_loop()
    found: list[Sample] = []
    made = [
        await loop.create_connection(
            lambda: Client(requests, found), at.hostname or "", at.port or 80
        )
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return found


async def serve(port: int) -> None:
    """Run the stub until the process ends."""
    made = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=2048)
    await made.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
