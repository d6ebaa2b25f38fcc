"""A streamed response that notices at once when its client disconnects, and always cleans up."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fleet_web.client import run_while_connected


class HeldStream(Response):
    """Sends `pieces`; whatever happens, `held` is closed afterwards."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        held: AsyncExitStack,
        *,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, headers=headers, media_type=media_type)
        # Starlette sets the length of the empty body.
        del self.headers["content-length"]
        self.pieces = pieces
        self.held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with contextlib.suppress(ClientDisconnect):
                await run_while_connected(Request(scope, receive), self._send_all(send))
        finally:
            await self.held.aclose()

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
