"""Shutdown of a server, and untested versions of uvicorn."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from uvicorn.main import STARTUP_FAILURE

from fleet_web import serve
from fleet_web.server import Server
from fleet_web.uvicorn_ext import server as server_module
from fleet_web.uvicorn_ext import versions
from support.ports import free_port
from support.waiting import until_async

Run = Callable[..., AbstractContextManager[Any]]
GET = b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def run(app: FastAPI) -> Run:
    """`with run(drain_timeout=...) as (server, port)`, still serving at the end or not."""

    @contextmanager
    def start(**options: Any) -> Iterator[tuple[Server, int]]:
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


def bound(port: int) -> socket.socket:
    """A socket that does not listen yet."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    found.bind(("127.0.0.1", port))
    return found


async def refused(port: int) -> None:
    """Wait until connections are refused."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_request_over_an_idle_connection_is_served_while_draining(
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


async def test_a_response_that_has_not_started_closes_its_connection(
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


async def test_a_request_that_outlasts_the_drain_timeout_may_be_tried_again(
    run: Run, app: FastAPI, wire: Any
) -> None:
    @app.get("/long")
    async def long() -> None:
        await asyncio.Event().wait()

    with run(drain_timeout=1) as (server, port):
        async with wire(port) as kept:
            await kept.send(GET % b"/long")
            await until_async(lambda: server.server_state.tasks)
            server.should_exit = True
            answer = await kept.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.error["code"] == "model_not_ready"


def test_a_port_that_another_process_took_after_it_was_bound_ends_the_server(app: FastAPI) -> None:
    with bound(0) as winner:
        port = winner.getsockname()[1]
        with bound(port) as loser:  # Linux allows it until one of them listens
            winner.listen()
            server = serve.build(app, "127.0.0.1", port)
            with pytest.raises(SystemExit) as ended:
                server.run(sockets=[loser])
    assert ended.value.code == STARTUP_FAILURE


async def test_a_running_stream_is_completed(
    run: Run, app: FastAPI, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 30.0)
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


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Treats the installed uvicorn as one that was not tested."""
    monkeypatch.setattr(versions, "CHECKED", ("0.1.",))
    with caplog.at_level(logging.WARNING):
        yield
    (warning,) = (each for each in caplog.get_records("call") if each.name == "fleet_web.serve")
    assert uvicorn.__version__ in warning.getMessage()
    assert "0.1.*" in warning.getMessage()


@pytest.mark.usefixtures("unchecked")
async def test_an_untested_uvicorn_serves_and_drains(run: Run, wire: Any) -> None:
    drained = threading.Event()
    with run(drain_timeout=2, on_drain=drained.set) as (server, port):
        assert type(server) is Server
        async with wire(port) as kept:
            await kept.send(GET % b"/id")
            assert (await kept.answer()).status == 200
            await kept.send(b"POST /json HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
            assert (await kept.answer()).body == b'{"given":{}}'
            server.handle_exit(signal.SIGTERM, None)
            assert drained.is_set()
            assert await kept.closed()


@pytest.mark.usefixtures("unchecked")
async def test_an_untested_uvicorn_reports_a_disconnect(run: Run, app: FastAPI, wire: Any) -> None:
    with run(drain_timeout=2) as (_, port):
        async with wire(port) as bare:
            await bare.send(b"POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab")
            assert await asyncio.to_thread(app.state.waiting.wait, 10)
            assert not app.state.left.is_set()
        assert await asyncio.to_thread(app.state.left.wait, 10)


def test_the_installed_uvicorn_was_tested() -> None:
    assert versions.is_checked(uvicorn.__version__)


def test_no_release_after_the_tested_ones_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    (needed,) = (
        each for each in project["optional-dependencies"]["web"] if each.startswith("uvicorn")
    )
    newest = max(int(prefix.split(".")[1]) for prefix in versions.CHECKED)
    assert needed.endswith(f",<0.{newest + 1}")


async def test_all_addresses_are_those_of_both_families(app: FastAPI) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    port = free_port()
    server = serve.build(app, "::", port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        await until_async(lambda: server.started)
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    finally:
        server.should_exit = True
        thread.join(30)
