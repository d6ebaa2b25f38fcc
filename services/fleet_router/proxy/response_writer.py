"""Writes a response to its client, as an event stream with heartbeats while a model starts."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import Send

from fleet_contract.safe_text import printable
from fleet_router.upstream.headers import EVENT_STREAM, UNBUFFERED, Headers

WAITING = "waiting for a server of this model"


class ResponseWriter:
    """`send` is ASGI's; it waits while the client reads slowly, and fleet_web bounds how long."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.opened = False
        """Whether an event stream was started before there was a response."""
        self.heartbeat_at = 0.0
        """Seconds of waiting at the last heartbeat."""

    async def heartbeat(self, seconds: float, progress: str = "") -> None:
        """Send a comment after `seconds` of waiting for a server: the progress of its start."""
        self.heartbeat_at = seconds
        await self.comment(f": {printable(progress or WAITING)}\n\n".encode())

    async def comment(self, text: bytes) -> None:
        """Send a comment. From the first one on the status is 200, and errors can only be
        events."""
        if not self.opened:
            headers = [
                (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                UNBUFFERED,
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            self.opened = True
        await self.send(text, more=True)

    async def start(self, status: int, headers: Headers) -> None:
        """Start the response, unless `heartbeat` did."""
        if not self.opened:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes, *, more: bool) -> None:
        """Send a chunk of the body; waits while the client reads slowly."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def end(self, error: Any) -> None:
        """End an opened stream with an error body as its last event."""
        await self.send(error_event(error, b""), more=False)


def error_event(body: Any, tail: bytes) -> bytes:
    """The error body as an event, after a stream whose last bytes are `tail`."""
    # A blank line ends an event that was cut off; clients would join the error to its data.
    separator = b"" if not tail or tail.endswith(b"\n\n") else b"\n\n"
    # Clients of Anthropic's API read the name of an event too.
    name = b"event: error\n" if body.get("type") == "error" else b""
    return separator + name + b"data: " + orjson.dumps(body) + b"\n\n"
