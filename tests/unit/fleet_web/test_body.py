"""Limits and timeouts of request bodies."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fleet_web.request_body.byte_budget import ByteBudget


@pytest.fixture
async def client(app: Any, listen: Any) -> AsyncIterator[httpx.AsyncClient]:
    with listen(app) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as made:
            yield made


@pytest.mark.parametrize(
    "raw",
    [b"", b"  ", b"{", b"nonsense", b"[1]", b'"text"', b"null", b"\xff\xfe", b'{"a": NaN}',
     b'{"a": "\\ud800"}', b"[" * 900],
)  # fmt: skip
async def test_anything_but_a_json_object_is_a_400(client: httpx.AsyncClient, raw: bytes) -> None:
    answer = await client.post("/json", content=raw)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


async def test_an_object_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/json", json={"a": [1, "ü"]})
    assert answer.json() == {"given": {"a": [1, "ü"]}}


async def test_a_declared_length_above_the_limit_is_refused_unread(
    app: Any, listen: Any, wire: Any
) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
            answer = await bare.answer()
            assert answer.status == 413
            assert "99999" in answer.error["message"]
            assert "1000" in answer.error["message"]
            assert answer.headers["connection"] == "close"
            assert await bare.closed()


async def test_too_large_without_a_length_is_refused_at_the_limit(
    client: httpx.AsyncClient,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100_000_000:
            sent += 65_536
            yield b"x" * 65_536

    try:
        answer = await client.post("/size", content=endless())
        assert answer.status_code == 413
    except httpx.TransportError:  # the server closed while the client was still sending
        pass
    assert sent < 50_000_000


async def test_a_body_without_progress_is_a_408(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            answer = await bare.answer()
            assert answer.status == 408
            assert answer.error["code"] == "request_timeout"
            assert await bare.closed()


async def test_a_compressed_body_is_decoded(client: httpx.AsyncClient) -> None:
    for coding, encode in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        raw = encode(b'{"a": "' + b"x" * 900 + b'"}')
        answer = await client.post("/json", content=raw, headers={"content-encoding": coding})
        assert answer.json() == {"given": {"a": "x" * 900}}


async def test_the_limit_holds_for_what_is_decoded(client: httpx.AsyncClient) -> None:
    raw = gzip.compress(b"x" * 200_000)
    assert len(raw) < 1000
    answer = await client.post("/json", content=raw, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "at most 1000" in answer.json()["error"]["message"]


async def test_another_encoding_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/json", content=b"{}", headers={"content-encoding": "br"})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_content_encoding"
    assert "'br'" in answer.json()["error"]["message"]


async def test_memory_is_reserved_until_the_end_of_a_request(
    app: Any, client: httpx.AsyncClient
) -> None:
    memory = app.state.body_memory = ByteBudget(3000)
    assert (await client.post("/json", content=b'{"a": 1}')).status_code == 200
    assert memory.left == 3000
    for broken in (b"{", b'{"a":' + b" " * 2000, b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"):
        assert (await client.post("/json", content=broken)).status_code in (400, 413)
        assert memory.left == 3000
    many = b'{"a":[' + b"0," * 200 + b"0]}"
    answer = await client.post("/json", content=many)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert memory.left == 3000


async def test_memory_is_held_while_a_request_runs(app: Any, listen: Any, wire: Any) -> None:
    memory = app.state.body_memory = ByteBudget(3000)
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
            assert await asyncio.to_thread(app.state.waiting.wait, 5)
            assert memory.left == 2998
        assert await asyncio.to_thread(app.state.left.wait, 5)
    assert memory.left == 3000


async def test_a_body_below_the_least_rate_is_a_408(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=0.3, read_rate=100) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n")
            await bare.send(b"x" * 3000)
            answer = asyncio.create_task(bare.answer())
            while not answer.done():
                await bare.send(b"x")
                await asyncio.sleep(0.05)
            assert (await answer).status == 408
            assert "too slowly" in (await answer).error["message"]


async def test_a_body_has_a_deadline_as_a_whole(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=30, read_rate=0, body_timeout=0.3) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n")
            answer = asyncio.create_task(bare.answer())
            while not answer.done():
                await bare.send(b"x" * 100)
                await asyncio.sleep(0.02)
            assert (await answer).status == 408
            assert "within 0.3 seconds" in (await answer).error["message"]


async def test_a_slow_body_with_progress_is_read(app: Any, listen: Any, wire: Any) -> None:
    """It takes longer than the timeout as a whole; no pause in it does."""
    with listen(app, read_timeout=2, read_rate=0) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                await bare.send(b"x")
                await asyncio.sleep(0.3)
            assert (await bare.answer()).body == b'{"size":8}'


async def test_a_disconnect_during_the_work_is_noticed(app: Any, listen: Any, wire: Any) -> None:
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await bare.reader.read(1)
            assert not app.state.left.is_set()
        assert await asyncio.to_thread(app.state.left.wait, 5)
