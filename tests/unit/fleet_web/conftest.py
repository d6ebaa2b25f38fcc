"""A small app with every kind of failure, and a bare connection to it."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from fleet_contract.errors import NotReady
from fleet_web import errors
from fleet_web.body import read, read_json
from fleet_web.client import run_while_connected
from fleet_web.request_id import RequestIdMiddleware, current
from fleet_web.responses import json_response


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI(openapi_url=None)
    errors.install(made)
    made.add_middleware(RequestIdMiddleware)
    made.state.waiting, made.state.left = threading.Event(), threading.Event()

    @made.post("/json")
    async def take(request: Request) -> Any:
        return json_response({"given": await read_json(request, 1000)})

    @made.post("/size")
    async def size(request: Request) -> Any:
        return json_response({"size": len(await read(request, 100_000))})

    @made.get("/id")
    async def identifier() -> Any:
        return json_response({"id": current()})

    @made.get("/boom")
    async def boom() -> None:
        raise ZeroDivisionError("the secret text of an exception")

    @made.get("/busy")
    async def busy() -> None:
        raise NotReady("Loading.", retry_after=1.2)

    @made.get("/half")
    async def half() -> Any:
        async def pieces() -> Any:
            yield b"some"
            raise ZeroDivisionError

        return StreamingResponse(pieces())

    @made.get("/much")
    async def much() -> Any:
        async def pieces() -> Any:
            try:
                for _ in range(400):
                    yield b"x" * 100_000
            finally:
                made.state.left.set()

        return StreamingResponse(pieces())

    @made.post("/wait")
    async def wait(request: Request) -> Any:
        await read(request, 1000)
        made.state.waiting.set()
        try:
            await run_while_connected(request, asyncio.Event().wait())
        finally:
            made.state.left.set()

    return made


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        assert set(found) == {"message", "type", "param", "code"}
        return found


@dataclass
class Wire:
    """One bare TCP connection."""

    port: int
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next response; all responses here have a content-length."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, body)

    async def closed(self) -> bool:
        async with asyncio.timeout(20):
            return await self.reader.read() == b""


@pytest.fixture
def wire() -> type[Wire]:
    return Wire
