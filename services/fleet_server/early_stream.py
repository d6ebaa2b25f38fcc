"""A streamed response that opens before its first event is ready, and is kept alive by comments.

While a request waits for its turn and while its prompt is read, nothing would reach the client, and
proxies close a connection that is silent for a minute. After an interval the event stream is
therefore opened with status 200; errors can then only be events. A request that is refused or
starts before that has a status and headers of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fleet_contract.errors import FleetError, InternalError
from fleet_server.held_stream import HeldStream
from fleet_web.client import run_while_connected

logger = logging.getLogger(__name__)

COMMENT = b": waiting for the first event\n\n"
EVENT_STREAM = "text/event-stream"

Failure = Callable[[FleetError], bytes]
"""Renders an error as the last event of a stream."""


async def stream_events(
    request: Request,
    start: Coroutine[Any, Any, HeldStream],
    failure: Failure,
    headers: dict[str, str],
    seconds: float,
) -> Response:
    """The response that `start` returns, or after `seconds` an open event stream that becomes it.

    `start` must not return before the first event is ready. `headers` are those of the early
    response; with 0 seconds it is never opened early. Raises what `start` raises until then, and
    ClientDisconnect.
    """
    if seconds <= 0:
        return await run_while_connected(request, start)
    starting = asyncio.create_task(start)
    try:
        await run_while_connected(request, asyncio.wait([starting], timeout=seconds))
    except BaseException:
        await _abandon(starting)
        raise
    if starting.done():
        return await starting
    return EarlyStream(starting, failure, headers, seconds)


class EarlyStream(Response):
    """Sends a comment every `seconds` until `starting` is done, then its events."""

    def __init__(
        self,
        starting: asyncio.Task[HeldStream],
        failure: Failure,
        headers: dict[str, str],
        seconds: float,
    ) -> None:
        super().__init__(None, headers=headers, media_type=EVENT_STREAM)
        del self.headers["content-length"]
        self._starting = starting
        self._failure = failure
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as held:
            held.push_async_callback(_abandon, self._starting)
            with contextlib.suppress(ClientDisconnect):
                await run_while_connected(Request(scope, receive), self._send_all(send, held))

    async def _send_all(self, send: Send, held: AsyncExitStack) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async for piece in self._pieces(held):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, held: AsyncExitStack) -> AsyncIterator[bytes]:
        while not self._starting.done():
            yield COMMENT
            await asyncio.wait([self._starting], timeout=self._seconds)
        try:
            started = await self._starting
        except FleetError as error:
            yield self._failure(error)
            return
        except Exception:
            logger.exception("a stream could not start")
            yield self._failure(InternalError("The engine failed while answering this request."))
            return
        held.push_async_callback(started.held.aclose)
        async for piece in started.pieces:
            yield piece


async def _abandon(starting: asyncio.Task[HeldStream]) -> None:
    """Cancel a start whose client left; what it holds is released."""
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        started = await starting
        await started.held.aclose()
