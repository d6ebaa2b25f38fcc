"""Sends a request to a model server while its response may already arrive.

Errors, a disconnect of the client among them, go to the connection, whose reader raises them.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect

from fleet_router.request.body import Body
from fleet_router.upstream.connection import Connection
from fleet_web.client import Client


class RequestSender:
    """Sends a body in memory at once; only one that is still being received needs a task."""

    def __init__(self, connection: Connection, head: bytes, body: Body, client: Client) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None
        if (data := body.in_memory) is not None:
            connection.send(head, data)
            client.watch()
        else:
            self._task = asyncio.create_task(_send(connection, head, body, client))
        client.on_disconnect(lambda: connection.fail(ClientDisconnect()))

    async def end(self) -> None:
        """Stop sending."""
        self._client.on_disconnect(None)
        if self._task is not None:
            self._task.cancel()
            # `wait` raises nothing of the task; its errors were passed to the connection.
            await asyncio.wait((self._task,))


async def _send(connection: Connection, head: bytes, body: Body, client: Client) -> None:
    try:
        await _send_chunks(connection, head, body)
        client.watch()
    except Exception as error:
        connection.fail(error)


async def _send_chunks(connection: Connection, head: bytes, body: Body) -> None:
    chunked = body.length is None
    unsent = head  # sent with the first chunk: one system call less
    async for chunk in body.chunks():
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
        await connection.write(unsent + framed)
        unsent = b""
    if chunked or unsent:
        await connection.write(unsent + (b"0\r\n\r\n" if chunked else b""))
    connection.request_sent = True
