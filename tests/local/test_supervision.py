"""Servers that die or hang in a running fleet, and the shutdown of the fleet."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import psutil
import pytest

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
READY = "The fleet is ready at"
SECONDS = 180


async def embed(http: httpx.AsyncClient) -> httpx.Response:
    return await http.post("/v1/embeddings", json={"model": EMBEDDING, "input": "a"})


async def chat(http: httpx.AsyncClient) -> httpx.Response:
    message = {"role": "user", "content": "Hi."}
    return await http.post(
        "/v1/chat/completions", json={"model": CHAT, "messages": [message], "max_tokens": 2}
    )


@pytest.fixture
def until_status(until: Any) -> Any:
    """`await until_status(request, status)`: the first response with that status."""

    async def wait(request: Callable[[], Awaitable[httpx.Response]], status: int) -> httpx.Response:
        async def fits() -> httpx.Response | None:
            answer = await request()
            return answer if answer.status_code == status else None

        found: httpx.Response = await until(fits, SECONDS)
        return found

    return wait


async def test_a_killed_server_restarts_while_the_others_serve(
    fleet: Any, http: httpx.AsyncClient, until_status: Any
) -> None:
    assert (await embed(http)).status_code == 200
    killed = fleet.server(EMBEDDING)
    killed.kill()
    waiting = asyncio.create_task(embed(http))
    states = (await http.get("/health")).json()["models"]
    assert states[CHAT] == "ready"
    assert states[EMBEDDING] != "ready"
    assert (await chat(http)).status_code == 200
    # The request is held for some seconds, then rejected with Retry-After.
    assert (await waiting).status_code in (200, 503)
    await until_status(lambda: embed(http), 200)
    assert fleet.server(EMBEDDING).pid != killed.pid
    assert (await http.get("/health")).status_code == 200
    fleet.wait_for(f"{EMBEDDING} was killed by SIGKILL", SECONDS)
    fleet.wait_for(f"{EMBEDDING} is ready after", SECONDS)


async def test_requests_get_retry_after_when_the_wait_ends(
    start_fleet: Any, until_status: Any
) -> None:
    with start_fleet("--models", "minilm", HOLD_SECONDS="0.1") as fleet:
        fleet.wait_for(READY, SECONDS)
        fleet.server(EMBEDDING).kill()
        async with httpx.AsyncClient(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            away = await until_status(lambda: embed(http), 503)
            assert away.json()["error"]["code"] == "model_not_ready"
            assert float(away.headers["retry-after"]) > 0
            await until_status(lambda: embed(http), 200)


async def test_a_killed_router_restarts(
    fleet: Any, http: httpx.AsyncClient, until_status: Any
) -> None:
    servers = {fleet.server(model).pid for model in (CHAT, EMBEDDING)}
    fleet.router().kill()

    async def embed_or_599() -> httpx.Response:
        try:
            return await embed(http)
        except httpx.TransportError:
            return httpx.Response(599)

    await until_status(embed_or_599, 200)
    fleet.wait_for("router is ready after", SECONDS)
    assert {fleet.server(model).pid for model in (CHAT, EMBEDDING)} == servers


def family(fleet: Any) -> list[psutil.Process]:
    found = fleet.children()
    assert len(found) == 2
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process(start_fleet: Any, number: signal.Signals) -> None:
    with start_fleet("--models", "minilm") as fleet:
        fleet.wait_for(READY, SECONDS)
        family(fleet)
        assert fleet.end(number) == 0
        assert "Stopping." in fleet.output


def test_a_killed_up_leaves_no_process(start_fleet: Any, gone: Any) -> None:
    with start_fleet("--models", "minilm") as fleet:
        fleet.wait_for(READY, SECONDS)
        found = family(fleet)
        fleet.process.kill()
        fleet.process.wait(SECONDS)
        assert gone(found)


def test_a_second_ctrl_c_kills_unresponsive_processes(start_fleet: Any, gone: Any) -> None:
    with start_fleet("--models", "minilm", DRAIN_TIMEOUT="600") as fleet:
        fleet.wait_for(READY, SECONDS)
        found = family(fleet)
        for process in found:
            process.suspend()
        fleet.process.send_signal(signal.SIGINT)
        fleet.wait_for("Stopping.", SECONDS)
        fleet.process.send_signal(signal.SIGINT)
        assert fleet.process.wait(SECONDS) == 130
        assert gone(found)


def test_an_unresponsive_process_does_not_delay_a_stop(start_fleet: Any) -> None:
    with start_fleet("--models", "minilm", DRAIN_TIMEOUT="0.5") as fleet:
        fleet.wait_for(READY, SECONDS)
        fleet.server(EMBEDDING).suspend()
        assert fleet.end() == 0


async def test_a_stop_drains_running_responses(start_fleet: Any) -> None:
    with start_fleet("--models", "smollm2", DRAIN_TIMEOUT="60") as fleet:
        fleet.wait_for(READY, SECONDS)
        body = {"model": CHAT, "max_tokens": 40, "stream": True,
                "messages": [{"role": "user", "content": "Tell me about rivers."}]}  # fmt: skip
        async with (
            httpx.AsyncClient(base_url=fleet.base_url, trust_env=False, timeout=180) as http,
            http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            pieces = answer.aiter_raw()
            await anext(pieces)
            os.kill(fleet.process.pid, signal.SIGINT)
            rest = [piece async for piece in pieces]
        assert rest[-1].endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(fleet.process.wait, SECONDS) == 0
