"""Sends a request's body to the model server and then watches for a client that leaves.

Runs beside the reading of the answer, in one task per request; whatever it meets it hands to the
connection, whose reader raises it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from fleet_router.body import Body
from fleet_router.connection import Connection
from fleet_web.disconnect import ClientGone


@asynccontextmanager
async def feeding(
    connection: Connection, head: bytes, body: Body, receive: Receive
) -> AsyncIterator[None]:
    """Feeds `connection` while the block runs."""
    task = asyncio.create_task(_feed(connection, head, body, receive))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _feed(connection: Connection, head: bytes, body: Body, receive: Receive) -> None:
    try:
        await _send(connection, head, body)
        while (await receive())["type"] != "http.disconnect":
            pass
        connection.fail(ClientGone())
    except Exception as error:
        connection.fail(error)


async def _send(connection: Connection, head: bytes, body: Body) -> None:
    chunked = body.length is None
    ahead = head
    async for piece in body.pieces():
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
        await connection.write(ahead + framed)
        ahead = b""
    if chunked or ahead:
        await connection.write(ahead + (b"0\r\n\r\n" if chunked else b""))
    connection.request_sent = True
