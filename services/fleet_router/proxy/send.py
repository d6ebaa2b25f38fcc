"""Sends a request to a model server while its answer may already come, and ends it when the client
leaves. Whatever it meets it hands to the connection, whose reader raises it.

`attempt` begins one for each request it sends and ends it with the answer.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect

from fleet_router.request.body import Body
from fleet_router.upstream.connection import Connection
from fleet_web.client import Client


class Feed:
    """Sends at once what lies in memory; only a body that still comes needs a task."""

    def __init__(self, connection: Connection, head: bytes, body: Body, client: Client) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None
        if (data := body.at_hand) is not None:
            connection.send(head, data)
            client.watch()
        else:
            self._task = asyncio.create_task(_feed(connection, head, body, client))
        client.on_disconnect(lambda: connection.fail(ClientDisconnect()))

    async def end(self) -> None:
        """Send no more."""
        self._client.on_disconnect(None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))


async def _feed(connection: Connection, head: bytes, body: Body, client: Client) -> None:
    try:
        await _send(connection, head, body)
        client.watch()
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
