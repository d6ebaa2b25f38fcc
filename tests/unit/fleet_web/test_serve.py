"""How a server ends: what is on its way is answered, and clients close idle connections first."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from fleet_web import serve
from support.waiting import until_async

Run = Callable[..., AbstractContextManager[Any]]
GET = b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def run(app: FastAPI) -> Run:
    """`with run(drain_timeout=...) as (server, port)`, still serving at the end or not."""

    @contextmanager
    def start(**options: Any) -> Iterator[tuple[serve.Server, int]]:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            server = serve.build(app, "127.0.0.1", port, **options)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
            thread.start()
            yield server, port
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()

    return start


async def refused(port: int) -> None:
    """Until nobody listens any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_request_over_an_idle_connection_is_answered_while_the_server_ends(
    run: Run, wire: Any
) -> None:
    with run(drain_timeout=40) as (server, port):
        async with wire(port) as kept:
            await kept.send(GET % b"/id")
            assert "connection" not in (await kept.answer()).headers
            server.should_exit = True
            await refused(port)
            await kept.send(GET % b"/id")
            last = await kept.answer()
            assert (last.status, last.headers["connection"]) == (200, "close")
            assert await kept.closed()


async def test_a_connection_that_stays_idle_is_closed(run: Run, wire: Any) -> None:
    with run(drain_timeout=2) as (server, port):
        async with wire(port) as kept:
            await kept.send(GET % b"/id")
            await kept.answer()
            server.should_exit = True
            assert await kept.closed()


async def test_an_answer_that_has_not_begun_says_that_it_is_the_last(
    run: Run, app: FastAPI, wire: Any
) -> None:
    gate = threading.Event()

    @app.get("/gate")
    def wait() -> dict[str, str]:
        gate.wait()
        return {}

    with run(drain_timeout=40) as (server, port):
        async with wire(port) as kept:
            await kept.send(GET % b"/gate")
            await until_async(lambda: server.server_state.tasks)
            server.should_exit = True
            await refused(port)
            gate.set()
            assert (await kept.answer()).headers["connection"] == "close"


async def test_a_stream_under_way_ends_as_it_should(
    run: Run, app: FastAPI, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "FAREWELL_SECONDS", 30.0)
    gate = threading.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.to_thread(gate.wait)
        yield b" more"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(), headers={"content-length": "9"})

    with run(drain_timeout=40) as (server, port):
        async with wire(port) as kept:
            await kept.send(GET % b"/stream")
            await kept.reader.readuntil(b"some")
            server.should_exit = True
            await refused(port)
            gate.set()
            async with asyncio.timeout(20):
                assert await kept.reader.readexactly(5) == b" more"
            await kept.send(GET % b"/id")
            assert (await kept.answer()).headers["connection"] == "close"
