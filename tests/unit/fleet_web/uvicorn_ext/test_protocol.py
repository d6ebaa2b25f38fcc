"""Timeouts of heads and responses, and refusals in the shape of every error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

GET = b"GET /id HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("start", [b"", b"GET /id HT", b"GET /id HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_without_progress_is_a_408(
    app: Any, listen: Any, wire: Any, start: bytes
) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(start)
            answer = await bare.answer()
            assert answer.status == 408
            assert answer.error["code"] == "request_timeout"
            assert await bare.closed()


async def test_the_second_request_of_a_connection_is_timed_too(
    app: Any, listen: Any, wire: Any
) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(GET)
            assert (await bare.answer()).status == 200
            await bare.send(GET[:20])
            assert (await bare.answer()).status == 408


async def test_an_idle_connection_is_kept_after_an_answer(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=0.1) as port:
        async with wire(port) as bare, wire(port) as clock:
            await bare.send(GET)
            assert (await bare.answer()).status == 200
            assert (await clock.answer()).status == 408  # longer than the timeout
            await bare.send(GET)
            assert (await bare.answer()).status == 200


async def test_a_head_without_end_is_refused(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"GET /id HTTP/1.1\r\nHost: x\r\n")
            answer = None
            for _ in range(200):
                try:
                    await bare.send(b"X-Padding: " + b"x" * 4000 + b"\r\n")
                except ConnectionError:
                    break
            answer = await bare.answer()
            assert answer.status == 431
            assert answer.error["code"] == "headers_too_large"


@pytest.mark.parametrize(
    "raw",
    [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n",
     b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
     b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabc"],
)  # fmt: skip
async def test_invalid_http_is_a_400(app: Any, listen: Any, wire: Any, raw: bytes) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(raw)
            answer = await bare.answer()
            assert answer.status == 400
            assert answer.error["code"] == "invalid_http"
            assert await bare.closed()


MUCH = b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_client_that_stops_reading_is_disconnected(
    app: Any, listen: Any, wire: Any
) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(MUCH)
            await bare.reader.readuntil(b"\r\n\r\n")
            assert await asyncio.to_thread(app.state.left.wait, 10)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await bare.reader.readexactly(40_000_000)


async def test_a_client_that_reads_slowly_gets_everything(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=1) as port:
        async with wire(port) as bare:
            await bare.send(MUCH)
            seen = 0
            while seen < 40_000_000:
                piece = await bare.reader.read(2_000_000)
                assert piece
                seen += len(piece)
                await asyncio.sleep(0.001)


async def test_a_stalled_client_does_not_delay_the_shutdown(
    app: Any, listen: Any, wire: Any
) -> None:
    async with asyncio.timeout(20):
        with listen(app, read_timeout=300) as port:
            stalled = wire(port)
            await stalled.__aenter__()
            await stalled.send(MUCH)
            await stalled.reader.readuntil(b"\r\n\r\n")
        await stalled.__aexit__()
