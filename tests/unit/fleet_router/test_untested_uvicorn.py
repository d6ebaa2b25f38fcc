"""The router on a version of uvicorn whose private state it must not use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fleet_contract.spec import ModelSpec
from fleet_router.app import create_app
from fleet_router.routing.table import Endpoint, LiveRoutes, Route, RouteTable
from fleet_web.uvicorn_ext import versions


@pytest.fixture
def upstream() -> FastAPI:
    """A model server: an endless chat, and uploads of which it returns the size."""
    app = FastAPI(openapi_url=None)
    app.state.left = threading.Event()

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> StreamingResponse:
        quiet = (await request.json()).get("user") == "quiet"

        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    if not quiet:
                        yield b"data: {}\n\n"
                    await asyncio.sleep(0.02)
            finally:
                app.state.left.set()

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    return app


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, listen: Any, upstream: FastAPI) -> Iterator[str]:
    """The address of a router in front of `upstream`."""
    with listen(upstream) as port:
        monkeypatch.setattr(versions, "CHECKED", ("0.1.",))
        endpoint = Endpoint("one", "127.0.0.1", port)
        routes = LiveRoutes()
        routes.swap(
            RouteTable.build(
                Route(ModelSpec(model=f"acme/{task}", task=task), (endpoint,))
                for task in ("chat", "speech")
            )
        )
        with listen(create_app(routes).web) as address:
            yield f"http://127.0.0.1:{address}"


def test_uploads_are_forwarded(url: str) -> None:
    answer = httpx.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": b"x" * 3_000_000}, data={"model": "acme/speech"},
    )  # fmt: skip
    assert (answer.status_code, answer.headers["x-modelfleet-endpoint"]) == (200, "one")
    assert answer.json()["size"] > 3_000_000


@pytest.mark.parametrize("user", ["quiet", "any"])
def test_a_client_that_disconnects_stops_the_server(url: str, upstream: FastAPI, user: str) -> None:
    body = {"model": "acme/chat", "user": user, "messages": []}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        chunks = answer.iter_raw()  # kept: httpx closes the connection with the iterator
        if user == "any":
            assert next(chunks).startswith(b"data: {}")
        assert not upstream.state.left.is_set()
    assert upstream.state.left.wait(10)
