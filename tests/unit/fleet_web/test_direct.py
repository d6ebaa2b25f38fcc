"""Responses are the same with and without FastAPI's routing."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, Request, Response
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from fleet_contract.errors import BadRequest, InternalError
from fleet_web import errors
from fleet_web.body import read_json
from fleet_web.direct import DirectAPI, Handlers, post_handlers
from fleet_web.request_id import RequestIdMiddleware

BODIES = ({"say": "yes"}, {"say": "bad"}, {"say": "ours"}, {"say": "bug"}, {"say": "gone"})


def routes() -> APIRouter:
    made = APIRouter()

    @made.post("/say")
    async def say(request: Request) -> Response:
        word = (await read_json(request, 1000)).get("say")
        if word == "bad":
            raise BadRequest("'say' is bad.", param="say")
        if word == "ours":
            raise InternalError("our own")
        if word == "bug":
            raise RuntimeError("a secret")
        if word == "gone":
            raise ClientDisconnect
        return Response(str(word))

    @made.get("/other")
    @made.post("/things/{name}")
    async def others(request: Request) -> Response:
        return Response("other")

    return made


def client(*, direct: bool) -> httpx.AsyncClient:
    middleware = [Middleware(RequestIdMiddleware)]
    app = DirectAPI(middleware=middleware)
    served = routes()
    if direct:
        handlers = post_handlers(served)
        app.bypass(handlers.keys(), Handlers(handlers), middleware)
    errors.install(app)
    app.include_router(served)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", headers={"x-request-id": "mine"}
    )


def test_only_posts_to_fixed_paths_bypass_routing() -> None:
    assert list(post_handlers(routes())) == ["/say"]


@pytest.mark.parametrize("body", BODIES)
async def test_responses_are_the_same(body: dict[str, str]) -> None:
    async with client(direct=True) as short, client(direct=False) as long:
        first, second = await short.post("/say", json=body), await long.post("/say", json=body)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.headers == second.headers
    assert first.headers["x-request-id"] == "mine"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/say"), ("POST", "/none"), ("GET", "/other")]
)
async def test_other_requests_are_routed(method: str, path: str) -> None:
    async with client(direct=True) as short, client(direct=False) as long:
        first, second = await short.request(method, path), await long.request(method, path)
    assert (first.status_code, first.content) == (second.status_code, second.content)
