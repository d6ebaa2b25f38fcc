"""Limits and timeouts of request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest


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


async def test_too_large_by_its_own_word_is_refused_unread(
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
        while sent < 50_000_000:
            sent += 65_536
            yield b"x" * 65_536

    try:
        answer = await client.post("/size", content=endless())
        assert answer.status_code == 413
    except httpx.TransportError:  # the server closed while the client was still sending
        pass
    assert sent < 20_000_000


async def test_a_body_without_progress_is_a_408(app: Any, listen: Any, wire: Any) -> None:
    with listen(app, read_timeout=0.2) as port:
        async with wire(port) as bare:
            await bare.send(b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            answer = await bare.answer()
            assert answer.status == 408
            assert answer.error["code"] == "request_timeout"
            assert await bare.closed()


async def test_a_slow_body_that_moves_is_read(app: Any, listen: Any, wire: Any) -> None:
    """It takes longer than the timeout as a whole; no pause in it does."""
    with listen(app, read_timeout=2) as port:
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
