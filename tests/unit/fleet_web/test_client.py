"""A request's client, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fastapi import Request

from fleet_web.body import chunks
from fleet_web.client import client_of, has_sent_all
from fleet_web.responses import json_response

HEAD = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def record(app: Any) -> list[Any]:
    """Adds routes to `app`; what they see is appended to the list."""
    seen: list[Any] = []
    app.state.staying, app.state.begun = threading.Event(), threading.Event()

    @app.post("/sent")
    async def sent(request: Request) -> Any:
        seen.append(client_of(request).sent_all)
        app.state.begun.set()
        pieces = [piece async for piece in chunks(request, 100)]
        seen.append(client_of(request).sent_all)
        return json_response({"size": sum(map(len, pieces))})

    @app.post("/stay")
    async def stay(request: Request) -> Any:
        left = asyncio.Event()
        assert len(b"".join([piece async for piece in chunks(request, 2_000_000)])) >= 4
        client_of(request).on_disconnect(left.set)
        client_of(request).watch()
        app.state.staying.set()
        await left.wait()
        client_of(request).on_disconnect(lambda: seen.append("immediately"))
        app.state.left.set()
        return json_response({})

    return seen


async def test_whether_a_body_has_arrived(app: Any, listen: Any, wire: Any) -> None:
    seen = record(app)
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(HEAD % (b"sent", 4) + b"body")
            assert (await bare.answer()).status == 200
            app.state.begun.clear()
            await bare.send(HEAD % (b"sent", 4) + b"bo")
            assert await asyncio.to_thread(app.state.begun.wait, 10)
            await bare.send(b"dy")
            assert (await bare.answer()).body == b'{"size":4}'
    assert seen == [True, True, False, True]


@pytest.mark.parametrize("size", [4, 1_000_000])
async def test_a_disconnect_is_noticed(app: Any, listen: Any, wire: Any, size: int) -> None:
    seen = record(app)
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send(HEAD % (b"stay", size) + b"x" * size)
            assert await asyncio.to_thread(app.state.staying.wait, 10)
            assert not app.state.left.is_set()
        assert await asyncio.to_thread(app.state.left.wait, 10)
    assert seen == ["immediately"]


async def test_a_disconnect_is_noticed_by_each_of_several_requests(
    app: Any, listen: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen = record(app)
    with listen(app) as port:
        async with wire(port) as bare:
            await bare.send((HEAD % (b"stay", 4) + b"body") * 3)
            assert await asyncio.to_thread(app.state.staying.wait, 10)
        assert await asyncio.to_thread(app.state.left.wait, 10)
    assert seen == ["immediately"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_without_the_extension_the_body_counts_as_incomplete() -> None:
    assert not has_sent_all({"type": "http"})
