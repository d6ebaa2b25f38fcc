"""GET requests of the router's own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fleet_router.routing.table import Endpoint
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager


class Responder:
    """Sends one response after another; `None` closes the connection instead."""

    def __init__(self, *responses: bytes | None) -> None:
        self.responses = list(responses)
        self.heads: list[bytes] = []
        self.connections = 0
        self.open: set[asyncio.Task[None] | None] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(asyncio.current_task())
        while True:
            try:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            if (response := self.responses.pop(0)) is None:
                break
            writer.write(response)
        writer.close()


def response(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


async def fetched(responder: Responder, times: int = 1, **more: str) -> list[bytes | None]:
    server = await asyncio.start_server(responder, "127.0.0.1", 0)
    async with server:
        endpoint = Endpoint("one", "127.0.0.1", server.sockets[0].getsockname()[1])
        endpoint, pools = replace(endpoint, **more), PoolManager()  # type: ignore[arg-type]
        try:
            found = [
                await fetch(pools, endpoint, "/metrics", seconds=10, limit=10) for _ in range(times)
            ]
            assert pools.in_flight(endpoint) == 0
            return found
        finally:
            pools.close()
            await asyncio.gather(*filter(None, responder.open))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (response(b"0123456789"), b"0123456789"),
        (response(b"0123456789x"), None),
        (response(b"sorry", 503), None),
        (response(b"", 204), None),
        (b"SSH-2.0\r\n\r\n", None),
    ],
    ids=["whole", "too-long", "503", "204", "other-protocol"],
)
async def test_only_a_short_body_of_a_200_counts(sent: bytes, expected: bytes | None) -> None:
    assert await fetched(Responder(sent)) == [expected]


async def test_other_statuses_count_if_they_are_named() -> None:
    responder = Responder(response(b"starting", 503), response(b"gone", 404))
    server = await asyncio.start_server(responder, "127.0.0.1", 0)
    pools = PoolManager()
    async with server:
        one = Endpoint("one", "127.0.0.1", server.sockets[0].getsockname()[1])
        found = [
            await fetch(pools, one, "/health", seconds=10, limit=10, statuses={200, 503})
            for _ in range(2)
        ]
        pools.close()
        await asyncio.gather(*filter(None, responder.open))
    assert found == [b"starting", None]


async def test_the_request_names_server_and_path() -> None:
    responder = Responder(response(b"a"))
    assert await fetched(responder, prefix="/base") == [b"a"]
    assert responder.heads[0].startswith(b"GET /base/metrics HTTP/1.1\r\nhost: 127.0.0.1:")


async def test_connections_are_reused() -> None:
    responder = Responder(response(b"a"), response(b"b"))
    assert await fetched(responder, 2) == [b"a", b"b"]
    assert responder.connections == 1


async def test_a_reused_connection_that_is_closed_is_replaced_once() -> None:
    responder = Responder(response(b"a"), None, response(b"b"))
    assert await fetched(responder, 2) == [b"a", b"b"]
    assert responder.connections == 2


async def test_a_new_connection_that_is_closed_is_not_replaced() -> None:
    responder = Responder(None, response(b"never"))
    assert await fetched(responder) == [None]
    assert responder.connections == 1


async def test_a_server_that_cannot_be_reached_has_no_body() -> None:
    assert (
        await fetch(PoolManager(), Endpoint("x", "127.0.0.1", 1), "/", seconds=10, limit=9) is None
    )
