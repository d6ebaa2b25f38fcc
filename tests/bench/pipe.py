"""A client and a server that cost almost nothing, to measure what lies between; router_overhead.

Requests and answers are fixed bytes over kept-alive HTTP/1.1 connections.
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit


class Stub(asyncio.Protocol):
    """Answers each request with the same `answer`; requests must have a content-length."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + _length(self._buffer[:end])
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            self._transport.write(self._answer)  # type: ignore[attr-defined]


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body), body,
    )  # fmt: skip


async def serve(port: int, body: bytes) -> None:
    made = await asyncio.get_running_loop().create_server(
        lambda: Stub(answer(body)), "127.0.0.1", port
    )
    await made.serve_forever()


async def latencies(url: str, path: str, bodies: list[bytes], clients: int) -> list[float]:
    """Seconds of each request; `clients` connections share the bodies."""
    split = urlsplit(url)
    assert split.hostname is not None
    host, port = split.hostname, split.port
    left = iter(bodies)
    found: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in left:
            request = (
                b"POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (path.encode(), host.encode(), len(body), body)
            )
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            found.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{url}: {head.decode()}")
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), b"x" * int(sys.argv[2])))
