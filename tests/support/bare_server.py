"""A bare HTTP/1.1 server on a socket, whose bytes the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fleet_router.routing.table import Endpoint

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Endpoint]:
    """The endpoint of a server that calls `handler` for each connection, and closes it then."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield Endpoint("one", "127.0.0.1", server.sockets[0].getsockname()[1])


async def respond_to_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A handler that responds to each request with `OK`."""
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
