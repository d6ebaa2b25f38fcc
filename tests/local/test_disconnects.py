"""A thousand chat requests with many disconnects leave no requests or memory behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUESTS = 1000
AT_ONCE = 24
CACHE_GIB = "0.125"
"""Small, so that the prefix cache is full and evicts entries after a part of the requests."""
WARM = 500
GROWTH_BYTES = 80 * 1024 * 1024
"""Allowed growth in the second half. OpenVINO caches a primitive for each new shape, and new shapes
become rare. 500 leaked responses would keep 350 MiB of the cache, those of disconnected clients 140
MiB.
"""
IN_FLIGHT = ("modelfleet_in_flight", "modelfleet_queue_depth", "modelfleet_router_in_flight")


async def one(http: httpx.AsyncClient, dice: random.Random) -> str:
    """Returns `done` or `left`; some clients disconnect after up to half a second."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Tell {dice.getrandbits(20)}."}],
        "max_tokens": dice.randint(1, 8),
        "stream": dice.random() < 0.5,
    }
    leave_after = dice.uniform(0, 0.5) if dice.random() < 0.4 else None
    try:
        async with (
            asyncio.timeout(leave_after),
            http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            read = b"".join([piece async for piece in answer.aiter_raw()])
    except TimeoutError:
        return "left"
    assert read.endswith(b"data: [DONE]\n\n" if body["stream"] else b"}")
    return "done"


async def many(http: httpx.AsyncClient, number: int, dice: random.Random) -> dict[str, int]:
    places = asyncio.Semaphore(AT_ONCE)

    async def placed() -> str:
        async with places:
            return await one(http, dice)

    ends = await asyncio.gather(*(placed() for _ in range(number)))
    return {end: ends.count(end) for end in ("done", "left")}


@pytest.fixture
def fleet(start_fleet: Any) -> Iterator[Any]:
    """Chat only, with a small key/value cache."""
    with start_fleet("--models", "smollm2", KV_CACHE_GIB=CACHE_GIB) as started:
        started.wait_for("The fleet is ready at", 300)
        yield started


async def test_a_thousand_requests_leave_nothing_in_flight_and_memory_flat(
    fleet: Any, http: httpx.AsyncClient, metric: Any, until: Any
) -> None:
    async def settled() -> bool:
        return not any([await metric(name, model=MODEL) for name in IN_FLIGHT])

    dice = random.Random(11)
    processes = {"server": fleet.server(MODEL), "router": fleet.router()}
    first = await many(http, WARM, dice)
    await until(settled)
    before = {name: process.memory_info().rss for name, process in processes.items()}
    files = {name: process.num_fds() for name, process in processes.items()}
    second = await many(http, REQUESTS - WARM, dice)
    await until(settled)
    assert min(first["left"], second["left"]) > 50, (first, second)
    assert min(first["done"], second["done"]) > 100, (first, second)
    for name, process in processes.items():
        growth = process.memory_info().rss - before[name]
        assert growth < GROWTH_BYTES, f"{name} grew by {growth / 2**20:.0f} MiB"
        assert process.num_fds() < files[name] + AT_ONCE + 8
    answer = await http.post(
        "/v1/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 4},
    )
    assert answer.status_code == 200
