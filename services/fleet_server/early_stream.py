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
from starlette.responses import Response

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
        # `wait_for` would cancel the task at the timeout; `wait` lets it run.
        await run_while_connected(request, asyncio.wait([starting], timeout=seconds))
    except BaseException:
        await _abandon(starting)
        raise
    if starting.done():
        return await starting
    held = AsyncExitStack()
    held.push_async_callback(_abandon, starting)
    pieces = _pieces(starting, failure, seconds, held)
    return HeldStream(pieces, held, media_type=EVENT_STREAM, headers=headers)


async def _pieces(
    starting: asyncio.Task[HeldStream], failure: Failure, seconds: float, held: AsyncExitStack
) -> AsyncIterator[bytes]:
    """A comment every `seconds` until `starting` is done, then its events; `held` also closes what
    it holds."""
    while not starting.done():
        yield COMMENT
        await asyncio.wait([starting], timeout=seconds)
    try:
        started = await starting
    except FleetError as error:
        yield failure(error)
        return
    except Exception:
        logger.exception("a stream could not start")
        yield failure(InternalError("The engine failed during this request."))
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
