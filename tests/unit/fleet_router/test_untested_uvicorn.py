"""The router on a version of uvicorn whose private state it must not use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import httpx
import pytest

from fleet_contract.spec import ModelSpec
from fleet_router.app import create_app
from fleet_router.routing.table import Endpoint, LiveRoutes, Route, RouteTable
from fleet_web.uvicorn_ext import versions


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, listen: Any, stub: Any) -> Iterator[str]:
    monkeypatch.setattr(versions, "CHECKED", ("0.1.",))
    endpoint = Endpoint("one", "127.0.0.1", stub.port)
    routes = LiveRoutes()
    routes.swap(
        RouteTable.build(
            Route(ModelSpec(model=f"acme/{task}", task=task), (endpoint,))
            for task in ("chat", "speech")
        )
    )
    with listen(create_app(routes).web) as port:
        yield f"http://127.0.0.1:{port}"


def test_bodies_and_uploads_are_forwarded(url: str, stub: Any, headers: Any) -> None:
    identifier = uuid.uuid4().hex
    with httpx.Client(base_url=url, headers=headers({}, identifier)) as client:
        chat = client.post("/v1/chat/completions", json={"model": "acme/chat"})
        assert (chat.status_code, chat.headers["x-modelfleet-endpoint"]) == (200, "one")
        upload = client.post(
            "/v1/audio/transcriptions",
            files={"file": b"x" * 3_000_000}, data={"model": "acme/speech"},
        )  # fmt: skip
        assert upload.status_code == 200
    assert stub.seen(identifier)["length"] > 3_000_000


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_stops_the_server(
    url: str, stub: Any, headers: Any, stream: bool
) -> None:
    identifier = uuid.uuid4().hex
    plan = {"pieces": ["data: {}\n\n"] * 1000, "gap": 0.05} if stream else {"delay": 30}
    with (
        nullcontext() if stream else pytest.raises(httpx.ReadTimeout),
        httpx.stream(
            "POST", f"{url}/v1/chat/completions", json={"model": "acme/chat"},
            headers=headers(plan, identifier), timeout=0.5,
        ) as answer,
    ):  # fmt: skip
        next(answer.iter_raw())
    stub.await_state(identifier, "cancelled")
