"""Bodies of responses are read to their end, within a bound."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from fleet_web.read_bounded import read_bounded

BODY = b"x" * 100_000


async def read(raw: bytes, limit: int = 200_000) -> bytes:
    """The body of a response whose last 50,000 bytes are sent when its head was received."""
    opened = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw[:-50_000])
        await writer.drain()
        await opened.wait()
        writer.write(raw[-50_000:])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as http:
        port = server.sockets[0].getsockname()[1]
        async with http.get(f"http://127.0.0.1:{port}/") as response:
            opened.set()
            return await read_bounded(response, limit)


HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n"


async def test_a_body_that_arrives_in_parts_is_complete() -> None:
    assert await read(HEAD + BODY) == BODY


async def test_a_body_that_ends_early_is_an_error() -> None:
    with pytest.raises(aiohttp.ClientError):
        await read(HEAD + BODY[:-1])


async def test_a_body_above_the_bound_is_an_error() -> None:
    with pytest.raises(ValueError, match="more than 99999 bytes"):
        await read(HEAD + BODY, limit=99_999)
