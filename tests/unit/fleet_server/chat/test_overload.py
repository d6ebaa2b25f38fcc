"""Refused requests: full queues, loading, draining and broken servers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest


async def test_a_full_queue_is_a_429_with_retry_after(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted("ab", gate=gate, max_concurrent=1), limits={"maxQueueSize": 1}) as live:
        asked = [asyncio.create_task(live.chat()) for _ in range(2)]
        await until(lambda: live.gauge("modelfleet_queue_depth") == 1)
        for stream in (True, False):
            answer = await live.chat(stream=stream)
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
        for _ in range(4):
            gate.release()
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert max(float(a.headers["x-modelfleet-queue-ms"]) for a in answers) > 0
        await live.idle()


async def test_a_disconnect_of_a_waiting_request_frees_the_queue(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted(gate=gate, max_concurrent=1), limits={"maxQueueSize": 1}) as live:
        first = asyncio.create_task(live.chat())
        await until(lambda: live.gauge("modelfleet_in_flight") == 1)
        second = asyncio.create_task(live.chat())
        await until(lambda: live.gauge("modelfleet_queue_depth") == 1)
        second.cancel()
        await until(lambda: live.gauge("modelfleet_queue_depth") == 0)
        first.cancel()
        await live.idle()
        assert len(live.model.running) == 1


async def test_waiting_too_long_is_a_504(serve: Any, scripted: Any, until: Any) -> None:
    gate = threading.Semaphore(0)
    model = scripted(gate=gate, max_concurrent=1)
    with serve(model, limits={"requestTimeout": 0.4}) as live:
        answers = await asyncio.gather(live.chat(), live.chat())
        assert {answer.status_code for answer in answers} == {504}
        await live.idle()


async def test_a_loading_model_is_a_503_with_retry_after(serve: Any) -> None:
    with serve(ready=False) as live:
        answer = await live.chat()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_not_ready"
        assert answer.headers["retry-after"] == "2"
        assert (await live.ask("GET", "/readyz")).status_code == 503
        assert (await live.ask("GET", "/livez")).status_code == 200


async def test_a_draining_server_ends_its_streams_and_accepts_no_more(
    serve: Any, scripted: Any
) -> None:
    gate = threading.Semaphore(1)
    with serve(scripted("abc", gate=gate)) as live:
        events = live.events()
        await anext(events)
        live.server.drain()
        assert (await live.chat()).status_code == 503
        assert (await live.ask("GET", "/readyz")).status_code == 503
        for _ in range(3):
            gate.release()
        assert [event async for event in events][-1] == "[DONE]"


async def test_a_broken_engine_fails_its_probe(serve: Any) -> None:
    with serve() as live:
        live.model.healthy = False
        assert (await live.chat()).status_code == 503
        assert (await live.ask("GET", "/livez")).status_code == 503
        assert (await live.ask("GET", "/readyz")).status_code == 503
        assert (await live.ask("GET", "/v1/models")).json()["data"][0]["state"] == "failed"


@pytest.mark.parametrize("stream", [True, False])
async def test_many_disconnects_leave_no_running_sequences(
    serve: Any, scripted: Any, stream: bool
) -> None:
    with serve(scripted("word " * 40, max_concurrent=4), limits={"maxQueueSize": 500}) as live:

        async def leave(number: int) -> None:
            try:
                async with asyncio.timeout(0.002 * (number % 40)):
                    await live.chat(stream=stream, max_tokens=200)
            except TimeoutError:
                pass

        for start in range(0, 200, 50):
            await asyncio.gather(*(leave(start + number) for number in range(50)))
        await live.idle()
        assert (await live.chat()).status_code == 200
        assert all(not r.thread.is_alive() or r.cancelled.is_set() for r in live.model.running)


async def test_requests_that_wait_are_served_while_the_server_drains(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted("ab", gate=gate, max_concurrent=1)) as live:
        asked = [asyncio.create_task(live.chat()) for _ in range(2)]
        await until(lambda: live.gauge("modelfleet_queue_depth") == 1)
        live.server.drain()
        for _ in range(4):
            gate.release()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200]
        await live.idle()
