"""Events of usage at a real HTTP server: batches, repeated attempts, bounds."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fleet_router.callers import usage_sink
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import RequestUsage
from fleet_router.callers.usage_log import UsageLog
from fleet_router.callers.usage_sink import Sink, UsageSink
from fleet_router.metrics import RouterMetrics
from support.waiting import until_async


class Receiver:
    """An HTTP server that responds with `statuses`, then 204, after `gate` is set."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.requests: list[tuple[int, dict[str, str], list[dict[str, Any]]]] = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                receiver.gate.wait(20)
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((status, headers, json.loads(raw)))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/usage"

    def events(self) -> list[dict[str, Any]]:
        """Those that were accepted."""
        return [one for status, _, batch in self.requests if status < 300 for one in batch]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(usage_sink, "COLLECT_SECONDS", 0.01)
    monkeypatch.setattr(usage_sink, "FIRST_RETRY_SECONDS", 0.01)
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Running:
    """A sink whose loop runs."""

    def __init__(self, address: str, token: str = "") -> None:
        self.metrics = RouterMetrics()
        self.sink = UsageSink(Sink(address, token), self.metrics)
        self.log = UsageLog(self.metrics, sink=self.sink)

    async def __aenter__(self) -> Running:
        self._task = asyncio.create_task(self.sink.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self.sink.close()

    def report(self, number: int = 1) -> None:
        for _ in range(number):
            usage = RequestUsage(prompt_tokens=5, completion_tokens=2)
            record = RequestRecord(model="m", path="/v1/x", key="team", usage=usage)
            self.log.report(record, 200, 0.1)

    def counted(self, result: str) -> float:
        labels = {"result": result}
        name = "modelfleet_router_usage_events_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_an_event_is_a_cloudevent_with_a_line_of_the_usage_log(receiver: Receiver) -> None:
    async with Running(receiver.url, "s3cret") as running:
        running.report(2)
        await until_async(lambda: running.counted("sent") == 2)
    assert "s3cret" not in repr(running.sink._sink)
    ((status, headers, (first, second)),) = receiver.requests
    assert status == 204
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert headers["authorization"] == "Bearer s3cret"
    assert first["id"] != second.pop("id")
    assert {name: first[name] for name in ("specversion", "type", "subject")} == {
        "specversion": "1.0", "type": "dev.modelfleet.usage", "subject": "m",
    }  # fmt: skip
    assert first["source"].startswith("/modelfleet/router/")
    assert first["datacontenttype"] == "application/json"
    assert first["time"] == first["data"]["time"]
    assert (first["data"]["key"], first["data"]["prompt_tokens"]) == ("team", 5)


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 503])
async def test_events_are_sent_again_with_the_same_id(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, status]
    async with Running(receiver.url) as running:
        running.report()
        await until_async(lambda: running.counted("sent") == 1)
    ids = [batch[0]["id"] for _, _, batch in receiver.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1


async def test_a_sink_that_is_down_is_tried_with_growing_pauses(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.statuses = [500] * 1000
    monkeypatch.setattr(usage_sink, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(usage_sink, "CLOSE_SECONDS", 0.2)
    async with Running(receiver.url) as running:
        running.report()
        await asyncio.sleep(0.6)
        attempts = len(receiver.requests)
    assert 2 <= attempts <= 5
    assert running.counted("ended") == 1


async def test_events_that_the_sink_cannot_read_are_dropped_and_counted(
    receiver: Receiver,
) -> None:
    receiver.statuses = [400]
    async with Running(receiver.url) as running:
        running.report()
        await until_async(lambda: running.counted("refused") == 1)
        running.report()
        await until_async(lambda: running.counted("sent") == 1)


async def test_a_batch_that_is_too_large_is_sent_in_parts(receiver: Receiver) -> None:
    receiver.statuses = [413]
    async with Running(receiver.url) as running:
        running.report(4)
        await until_async(lambda: running.counted("sent") == 4)
    assert [len(batch) for _, _, batch in receiver.requests] == [4, 2, 2]
    assert len({one["id"] for one in receiver.events()}) == 4


async def test_a_sink_that_hangs_delays_no_request_and_fills_no_memory(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usage_sink.MAX_PENDING == 20_000  # docs/router.md
    monkeypatch.setattr(usage_sink, "MAX_PENDING", 3)
    receiver.gate.clear()
    async with Running(receiver.url) as running:
        started = time.monotonic()
        running.report(5)
        await asyncio.sleep(0.05)
        running.report()
        assert time.monotonic() - started < 5
        assert running.counted("full") == 3
        receiver.gate.set()
        await until_async(lambda: running.counted("sent") == 3)
        running.report()
        await until_async(lambda: running.counted("sent") == 4)


async def test_what_is_left_is_sent_at_the_end(receiver: Receiver) -> None:
    running = Running(receiver.url)
    running.report(3)
    await running.sink.close()
    assert len(receiver.events()) == running.counted("sent") == 3


async def test_a_sink_that_does_not_exist_ends_the_router_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running("http://127.0.0.1:1/usage")
    running.report(2)
    await running.sink.close()
    assert running.counted("ended") == 2
