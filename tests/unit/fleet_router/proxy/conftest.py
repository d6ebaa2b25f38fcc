"""A router in this process, over a model server whose responses the test scripts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fleet_contract.spec import ModelSpec
from fleet_router.app import create_app
from fleet_router.callers.auth import Auth
from fleet_router.proxy.proxy import Proxy
from fleet_router.proxy.waiting import WaitSettings
from fleet_router.routing.table import Endpoint, LiveRoutes, Route, RouteTable

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

Script = Callable[[asyncio.StreamWriter], Any]


@dataclass
class Seen:
    """A request that reached the server; `complete` is false if its body did not."""

    line: str
    headers: dict[str, str]
    body: bytes = b""
    complete: bool = False


@dataclass
class Upstream:
    """`script` has the response to each request: bytes to send, or a function of the writer; 200 if
    it is empty. With `abort_after` set, that many bytes of a body close the connection."""

    script: deque[bytes | Script] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    abort_after: int | None = None
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        request = Seen(lines[0], headers)
        self.seen.append(request)
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                request.body += await reader.readexactly(size)
                await reader.readline()
                if self.abort_after is not None and len(request.body) > self.abort_after:
                    return False
            await reader.readline()
        else:
            length = int(headers["content-length"])
            if self.abort_after is not None:
                length = min(length, self.abort_after)
            request.body = await reader.readexactly(length)
            if self.abort_after is not None:
                return False
        request.complete = True
        answer = self.script.popleft() if self.script else OK
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            await answer(writer)
        await writer.drain()
        return not writer.is_closing()


@dataclass
class Router:
    """The router's app and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def proxy(self) -> Proxy:
        return next(
            route.app  # type: ignore[attr-defined]
            for route in self.app.router.routes
            if getattr(route, "path", "") == "/v1/chat/completions"
        )

    def unreleased(self) -> tuple[int, int]:
        """Bytes of memory and disk that requests still hold."""
        memory, disk = self.proxy._budgets
        return memory.limit - memory.left, disk.limit - disk.left

    async def chat(self, model: str = "acme/chat", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
        return await self.client.post("/v1/chat/completions", json=body)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = (await self.client.get("/metrics")).text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name) and all(each in line for each in wanted)
        )


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
def start(upstream: Upstream, listen: Any) -> Callable[..., Any]:
    """`async with start(...) as router`: its models are at `upstream`, `acme/pair` with two
    endpoints; half of `acme/grouped` goes to `acme/canary`."""

    @asynccontextmanager
    async def started(
        *,
        keys: Path | None = None,
        heartbeat: float = 15.0,
        hold: float = 0.0,
        transcription: str | None = None,
    ) -> AsyncIterator[Router]:
        url = f"http://127.0.0.1:{upstream.port}"
        endpoint = Endpoint.parse("one", url)
        second = Endpoint.parse("two", url)
        remote = {"address": url, "model": "gpt"}
        group = {"group": "acme/grouped"}
        routes = LiveRoutes()
        routes.table = RouteTable.build(
            [
                Route(ModelSpec.model_validate({"model": "acme/chat"}), (endpoint,)),
                Route(ModelSpec.model_validate({"model": "acme/speech", "task": "speech"}),
                      (endpoint,)),
                Route(ModelSpec.model_validate({"model": "acme/pair", "task": "speech"}),
                      (endpoint, second)),
                Route(ModelSpec.model_validate({"model": "acme/tuned", "fallback": "acme/chat",
                                                "aliases": ["tuned"], "adapters": [
                                                    {"name": "sql", "source": "file:///sql"}]}),
                      (endpoint, second)),
                Route(ModelSpec.model_validate({"model": "acme/grouped", "traffic": group}),
                      (endpoint,)),
                Route(ModelSpec.model_validate({"model": "acme/canary",
                                                "traffic": {**group, "weight": 50}}),
                      (endpoint,)),
                Route(ModelSpec.model_validate({"model": "acme/far", "engine": "remote",
                                                "remote": remote}),
                      (Endpoint.parse("remote", url, "fleet-key"),), upstream_model="gpt"),
                Route(ModelSpec.model_validate({"model": "acme/ears", "task": "speech",
                                                "engine": "remote", "remote": remote}),
                      (Endpoint.parse("remote", url, "fleet-key"),), upstream_model="gpt"),
                Route(ModelSpec.model_validate({"model": "acme/off", "stopped": True}), ()),
            ]
        )  # fmt: skip
        auth = Auth(keys)
        auth.load()
        settings = WaitSettings(hold, 100, heartbeat)
        made = create_app(
            routes, auth=auth, wait_settings=settings, transcription_model=transcription
        )
        with listen(made.web) as port:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                yield Router(made.web, client)

    return started
