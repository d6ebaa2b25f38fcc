"""The short way to endpoints answers as the long one does."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from fleet_contract.errors import BadRequest, InternalError
from fleet_web import errors
from fleet_web.body import read_json
from fleet_web.direct import DirectMiddleware, posted
from fleet_web.disconnect import ClientGone

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
            raise ClientGone
        return Response(str(word))

    @made.get("/other")
    @made.post("/things/{name}")
    async def others(request: Request) -> Response:
        return Response("other")

    return made


def client(*, direct: bool) -> httpx.AsyncClient:
    app = FastAPI()
    served = routes()
    if direct:
        app.add_middleware(DirectMiddleware, endpoints=posted(served))
    errors.install(app)
    app.include_router(served)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def test_only_posts_to_fixed_paths_are_short_cut() -> None:
    assert list(posted(routes())) == ["/say"]


@pytest.mark.parametrize("body", BODIES)
async def test_answers_are_the_same(body: dict[str, str]) -> None:
    async with client(direct=True) as short, client(direct=False) as long:
        first, second = await short.post("/say", json=body), await long.post("/say", json=body)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.headers == second.headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/say"), ("POST", "/none"), ("GET", "/other")]
)
async def test_everything_else_goes_the_long_way(method: str, path: str) -> None:
    async with client(direct=True) as short, client(direct=False) as long:
        first, second = await short.request(method, path), await long.request(method, path)
    assert (first.status_code, first.content) == (second.status_code, second.content)
