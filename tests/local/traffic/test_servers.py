"""Servers stop, start and die under traffic: no request fails or is cut off."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from support.waiting import until
from traffic import Driver, Embeddings, Kind, Plan, WholeChat

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"


def wait_until_busy(server: Any) -> None:
    """Wait until the server processes a request."""
    until(lambda: server.metric("modelfleet_in_flight"))


def test_a_drained_server(parts: Any, kinds: Callable[..., list[Kind]]) -> None:
    leaving = [parts.server(CHAT), parts.server(EMBEDDING)]
    staying = [parts.server(CHAT), parts.server(EMBEDDING)]
    router = parts.router()
    with Driver(Plan(router.url, rate=8, concurrency=6), kinds(CHAT, EMBEDDING)) as driver:
        driver.wait_for_requests(12)
        with driver.mark("drain"):
            wait_until_busy(leaving[0])
            for server in leaving:
                parts.routes.remove(server)
                server.signal(signal.SIGTERM)
            driver.wait_for_requests(12)
            assert [server.wait() for server in leaving] == [0, 0]
        driver.wait_for_requests(6)
    report = driver.report()
    assert report.clean, report
    assert set(report.slices["drain"]) == {"all", "chat", "chat stream", "embeddings"}
    assert all(server.metric("modelfleet_requests_total") > 0 for server in staying)


def test_a_replaced_server(parts: Any, kinds: Callable[..., list[Kind]]) -> None:
    old = parts.server(EMBEDDING)
    router = parts.router()
    with Driver(Plan(router.url, rate=20, concurrency=6), kinds(EMBEDDING)) as driver:
        driver.wait_for_requests(10)
        with driver.mark("rollout"):
            new = parts.server(EMBEDDING)
            parts.routes.remove(old)
            old.signal(signal.SIGTERM)
            driver.wait_for_requests(20)
            assert old.wait() == 0
        driver.wait_for_requests(10)
    report = driver.report()
    assert report.clean, report
    assert new.metric("modelfleet_requests_total") > 0


def test_a_killed_server(parts: Any) -> None:
    dying = [parts.server(CHAT), parts.server(EMBEDDING)]
    staying = [parts.server(CHAT), parts.server(EMBEDDING)]
    router = parts.router()
    # Only responses without streaming: a stream that has started cannot be retried.
    kinds: list[Kind] = [WholeChat(CHAT, 32), Embeddings(EMBEDDING, 384)]
    with Driver(Plan(router.url, rate=20, concurrency=6), kinds) as driver:
        driver.wait_for_requests(8)
        with driver.mark("killed"):
            wait_until_busy(dying[0])
            for server in dying:
                server.signal(signal.SIGKILL)
            assert [server.wait() for server in dying] == [-9, -9]
            driver.wait_for_requests(12)
        for server in dying:
            parts.routes.remove(server)
        driver.wait_for_requests(6)
    report = driver.report()
    assert report.clean, report
    assert router.metric("modelfleet_router_retries_total", model=CHAT) >= 1
    assert all(server.metric("modelfleet_requests_total") > 0 for server in staying)
