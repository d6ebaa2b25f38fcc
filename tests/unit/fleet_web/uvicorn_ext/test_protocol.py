"""Timeouts of heads and responses, and refusals in the shape of every error."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from fastapi import Request

from fleet_web.body import read
from fleet_web.responses import json_response
from fleet_web.uvicorn_ext import protocol

GET = b"GET /id HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("start", [b"", b"GET /id HT", b"GET /id HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_without_progress_is_a_408(
    app: Any, listen: Any, wire: Any, start: bytes
) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(start)
            response = await bare.answer()
            assert response.status == 408
            assert response.error["code"] == "request_timeout"
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


async def test_an_idle_connection_is_kept_after_a_response(
    app: Any, listen: Any, wire: Any
) -> None:
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
            response = None
            for _ in range(200):
                try:
                    await bare.send(b"X-Padding: " + b"x" * 4000 + b"\r\n")
                except ConnectionError:
                    break
            response = await bare.answer()
            assert response.status == 431
            assert response.error["code"] == "headers_too_large"


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
            response = await bare.answer()
            assert response.status == 400
            assert response.error["code"] == "invalid_http"
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


CHUNKED = b"POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def send_until_closed(bare: Any, piece: bytes, most: int) -> int:
    """Bytes sent until the server closed the connection, at most `most`."""
    sent = 0
    try:
        while sent < most:
            await bare.send(piece)
            sent += len(piece)
            await asyncio.sleep(0)
            if bare.reader.at_eof():
                break
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"x" * 1000 + b"\r\n"),
        (b"2\r\n{}\r\n0\r\nX-Trailer: ", b"x" * 1000),
        (b"2\r\n{}\r\n2;", b"x" * 1000),
        (b"", b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
        (b"", b"0000000000000001\r\nx\r\n" * 100),
    ],
    ids=["trailers", "one trailer", "one extension", "extensions", "long sizes"],
)
async def test_framing_without_end_is_refused(
    app: Any, listen: Any, wire: Any, start: bytes, piece: bytes
) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(CHUNKED.replace(b"/json", b"/size") + start)
            sent = asyncio.create_task(send_until_closed(bare, piece, 100_000_000))
            response = await bare.answer()
            assert response.status == 431
            assert response.error["code"] == "headers_too_large"
            assert await sent < 50_000_000


async def test_trailers_after_a_response_close_the_connection(
    app: Any, listen: Any, wire: Any
) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(CHUNKED.replace(b"/json", b"/none") + b"0\r\n")
            assert (await bare.answer()).status == 404
            piece = b"X-Trailer: " + b"x" * 60_000 + b"\r\n"
            assert await send_until_closed(bare, piece, 100_000_000) < 50_000_000


async def test_small_chunks_of_an_honest_client_are_read(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(CHUNKED.replace(b"/json", b"/size"))
            for _ in range(100):
                await bare.send(b"8\r\n12345678\r\n" * 100)
            await bare.send(b"0\r\nX-Trailer: checksum\r\n\r\n")
            assert (await bare.answer()).body == b'{"size":80000}'


async def test_trailers_do_not_become_headers(app: Any, listen: Any, wire: Any) -> None:
    @app.post("/headers")
    async def headers(request: Request) -> Any:
        await read(request, 1000)
        return json_response([name.decode() for name, _ in request.scope["headers"]])

    with listen(app) as port:
        async with wire(port) as bare:
            start = CHUNKED.replace(b"/json", b"/headers")
            await bare.send(start + b"2\r\n{}\r\n0\r\nX-Trailer: x\r\n\r\n")
            assert json.loads((await bare.answer()).body) == ["host", "transfer-encoding"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", 404),
        (b"POST /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 404),
        (b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", 413),
        (CHUNKED[:-2] + b"Connection: close\r\nContent-Encoding: br\r\n\r\n", 415),
    ],
)
async def test_a_client_that_sends_everything_before_it_reads_gets_its_response(
    app: Any, listen: Any, wire: Any, head: bytes, status: int
) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(head)
            piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n" if b"chunked" in head else b"x" * 65536
            for _ in range(20_000_000 // len(piece)):
                await bare.send(piece)
            assert (await bare.answer()).status == status


async def test_a_connection_is_reused_once_the_body_has_ended(
    app: Any, listen: Any, wire: Any
) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            assert (await bare.answer()).status == 404
            await bare.send(b"123456789" + GET)
            assert (await bare.answer()).status == 200


async def test_a_body_that_continues_after_its_response_is_cut_off(
    app: Any, listen: Any, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n")
            assert (await bare.answer()).status == 404
            while not await until_closed(bare, 0.02):
                bare.writer.write(b"x")


async def until_closed(bare: Any, seconds: float) -> bool:
    """Whether the server closes the connection within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await bare.reader.read(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def test_a_head_has_a_deadline_even_with_progress(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=0.3) as port:
        async with wire(port) as bare:
            await bare.send(b"GET /id HTTP/1.1\r\n")
            response = asyncio.create_task(bare.answer())
            while not response.done():
                await bare.send(b"X-Padding: x\r\n")
                await asyncio.sleep(0.05)
            assert (await response).status == 408


async def test_empty_lines_do_not_keep_a_connection(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, keep_alive=1) as port:
        async with wire(port) as bare:
            await bare.send(GET)
            assert (await bare.answer()).status == 200
            while not await until_closed(bare, 0.1):
                await bare.send(b"\r\n")


async def test_of_too_many_idle_connections_the_longest_idle_is_closed(
    app: Any, listen: Any, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "idle_limit", lambda: 2)
    with listen(app) as port:
        async with wire(port) as first, wire(port) as second, wire(port) as third:
            for bare in (first, second, first, third):
                await bare.send(GET)
                assert (await bare.answer()).status == 200
            assert await second.closed()
            for bare in (first, third):
                await bare.send(GET)
                assert (await bare.answer()).status == 200


@pytest.mark.parametrize("after", [b"", b"\r\n"])
async def test_a_request_may_run_for_longer_than_idle_connections_are_kept(
    app: Any, listen: Any, wire: Any, after: bytes
) -> None:
    go_on = threading.Event()

    @app.get("/later")
    async def later() -> Any:
        await asyncio.to_thread(go_on.wait)
        return json_response({"status": "done"})

    with listen(app, keep_alive=1) as port:
        async with wire(port) as bare, wire(port) as clock:
            for each in (bare, clock):
                await each.send(GET)
                assert (await each.answer()).status == 200
            await bare.send(GET.replace(b"/id", b"/later") + after)  # in one segment
            assert await clock.closed()
            go_on.set()
            assert (await bare.answer()).status == 200


async def test_an_incomplete_head_does_not_affect_the_running_request(
    app: Any, listen: Any, wire: Any
) -> None:
    go_on = threading.Event()
    loop = asyncio.get_running_loop()

    @app.get("/later")
    async def later() -> Any:
        await asyncio.to_thread(go_on.wait)
        return json_response({"status": "done"})

    with listen(app, read_timeout=0.1) as port:
        async with wire(port) as bare, wire(port) as clock:
            await bare.send(GET.replace(b"/id", b"/later") + GET[:20])
            assert (await clock.answer()).status == 408  # longer than the timeout
            loop.call_later(0.1, go_on.set)
            assert (await bare.answer()).body == b'{"status":"done"}'
            assert await bare.closed()


async def test_a_connection_stays_usable_after_an_unsupported_upgrade(
    app: Any, listen: Any, wire: Any
) -> None:
    """Java's client requests HTTP/2 in its first request."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    with listen(app) as port:
        async with wire(port) as bare:
            for head in (GET[:-2] + upgrade, GET):
                await bare.send(head)
                assert (await bare.answer()).status == 200


async def test_a_few_requests_may_be_pipelined(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            for _ in range(2):  # the connection is kept
                await bare.send(GET * protocol.MAX_PIPELINED)
                for _ in range(protocol.MAX_PIPELINED):
                    assert (await bare.answer()).status == 200


async def test_of_too_many_pipelined_requests_the_first_are_answered(
    app: Any, listen: Any, wire: Any
) -> None:
    """Each waiting request takes 30 times the memory of its head."""
    with listen(app) as port:
        async with wire(port) as bare:
            bare.writer.write(GET * 1000)
            answered = await asyncio.wait_for(bare.reader.read(), 20)
    assert answered.count(b"HTTP/1.1 200 OK") == protocol.MAX_PIPELINED
    assert answered.count(b"connection: close") == 1
    assert answered.count(b"HTTP/1.1") == protocol.MAX_PIPELINED
