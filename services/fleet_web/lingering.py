"""An answer to a client that is still writing: closing at once would reset the connection, and the
client would lose the answer. Used by `errors` for bodies that are too large."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

LINGER_SECONDS = 1.0
LINGER_BYTES = 8 * 1024 * 1024


class LingeringAnswer(JSONResponse):
    """Sent whole at once; then what the client still writes is thrown away for a moment, so that
    it comes to read the answer before the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    seen, more = 0, True
    while more and seen < LINGER_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
