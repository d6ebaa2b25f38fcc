"""The way of an answer to its client: opened once, and how it ends when it was opened too early.

`carry` makes one for each request; `relay` writes to it.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import Send

from fleet_router.upstream.headers import EVENT_STREAM, UNBUFFERED, Headers

BEAT = b": waiting for a server of this model\n\n"


class ResponseWriter:
    """`send` is ASGI's; it waits while the client is slow, and fleet_web bounds how long."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.opened = False
        """Whether an event stream was begun before its answer."""
        self.beaten_at = 0.0

    async def beat(self, seconds: float) -> None:
        """Tell a client, after `seconds` of waiting, that its stream will come. From now on its
        status is 200, and only events can tell of errors."""
        self.beaten_at = seconds
        if not self.opened:
            self.opened = True
            headers = [
                (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                UNBUFFERED,
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.send(BEAT, more=True)

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer, unless `beat` did."""
        if not self.opened:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, piece: bytes, *, more: bool) -> None:
        """Send a piece of the body; waits while the client is slow to take it."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def end(self, error: Any) -> None:
        """End an opened stream with an error body as its last event."""
        await self.send(error_event(error, b""), more=False)


def error_event(body: Any, tail: bytes) -> bytes:
    """The error body as an event of its own, after a stream whose last bytes are `tail`."""
    separator = b"" if not tail or tail.endswith(b"\n\n") else b"\n\n"
    return separator + b"data: " + orjson.dumps(body) + b"\n\n"
