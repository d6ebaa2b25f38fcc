"""Requests that offer an upgrade are served over HTTP/1.1, with their bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

OFFER = (
    b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
HEAD = b"POST /size HTTP/1.1\r\n" + OFFER
BODIES = {
    "length": (b"Content-Length: 5\r\n\r\n", b"hello", 5),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", 5),
    "empty": (b"Content-Length: 0\r\n\r\n", b"", 0),
    "none": (b"\r\n", b"", 0),
}


async def sizes(bare: Any, number: int) -> list[int]:
    """The `size` of the next responses."""
    found = []
    for _ in range(number):
        response = await bare.answer()
        assert response.status == 200
        found.append(json.loads(response.body)["size"])
    return found


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("by_byte", [False, True])
async def test_the_body_is_read(app: Any, listen: Any, wire: Any, kind: str, by_byte: bool) -> None:
    framing, body, size = BODIES[kind]
    request = HEAD + framing + body
    with listen(app) as port:
        async with wire(port) as bare:
            for _ in range(2):  # the connection is kept, and may be offered again
                for at in range(len(request)) if by_byte else ():
                    await bare.send(request[at : at + 1])
                if not by_byte:
                    await bare.send(request)
                assert await sizes(bare, 1) == [size]


async def test_what_follows_is_the_next_request(app: Any, listen: Any, wire: Any) -> None:
    plain = b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
    offers = [HEAD + framing + body for framing, body, _ in BODIES.values()]
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(plain.join(offers) + plain)
            assert await sizes(bare, 8) == [5, 2, 5, 2, 0, 2, 0, 2]


async def test_websockets_are_not_offered(app: Any, listen: Any, wire: Any) -> None:
    offer = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"GET /id HTTP/1.1\r\n" + offer + b"\r\n")
            assert (await bare.answer()).status == 200


async def test_a_body_that_is_too_large_is_refused(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * 1000)
            assert (await bare.answer()).status == 413


async def test_a_body_that_is_not_valid_is_refused(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n")
            assert (await bare.answer()).status == 400
