"""The log line, metrics, headers and usage of a request."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from fleet_router.callers.access_log import LOGGED_PATH, AccessMiddleware
from fleet_router.callers.request_record import RequestRecord, record_of
from fleet_router.callers.usage_log import UsageLog
from fleet_router.metrics import RouterMetrics


class Usage(UsageLog):
    """Keeps what was reported."""

    def __init__(self, metrics: RouterMetrics) -> None:
        super().__init__(metrics)
        self.reported: list[tuple[str, int]] = []

    def report(self, record: RequestRecord, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.reported.append((record.model, status))


class Client:
    """An app whose responses have `status`, and whose records have `fields`; with `streams` a chunk
    of a server's response arrives."""

    def __init__(self, status: int = 200, *, streams: bool = False, **fields: Any) -> None:
        self.metrics = RouterMetrics()
        self.usage = Usage(self.metrics)
        self._status = status
        self._streams = streams
        self._fields = fields

    async def get(self, path: str = "/v1/models") -> httpx.Response:
        app = AccessMiddleware(self._respond, self.metrics, self.usage)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.get(path)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        for name, value in self._fields.items():
            setattr(record, name, value)
        if self._status == 500:
            raise RuntimeError("a bug")
        if self._streams:
            record.count_chunk()
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def counted(self, **labels: str) -> float:
        name = "modelfleet_router_requests_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_requests_of_known_models_are_in_the_usage_log() -> None:
    client = Client(model="acme/chat", path="/v1/chat/completions", key="some")
    await client.get()
    assert client.usage.reported == [("acme/chat", 200)]
    labels = {"model": "acme/chat", "path": "/v1/chat/completions", "key": "some"}
    assert client.counted(**labels, code="200") == 1


@pytest.mark.parametrize("status", [401, 404])
async def test_requests_without_a_model_are_counted_only(status: int) -> None:
    client = Client(status, path="/v1/chat/completions")
    await client.get()
    assert client.usage.reported == []
    labels = {"model": "", "path": "/v1/chat/completions", "key": ""}
    assert client.counted(**labels, code=str(status)) == 1


async def test_unknown_paths_make_no_series() -> None:
    client = Client(404)
    await client.get("/nothing")
    assert client.usage.reported == []
    names = {each.name for family in client.metrics.registry.collect() for each in family.samples}
    assert "modelfleet_router_requests_total" not in names


async def test_an_error_of_the_router_is_counted() -> None:
    client = Client(500, model="m", path="/v1/x")
    await client.get()
    assert client.usage.reported == [("m", 500)]


async def test_the_status_of_the_record_takes_precedence() -> None:
    client = Client(model="m", path="/v1/x")
    client._fields["status"] = 499
    await client.get()
    assert client.usage.reported == [("m", 499)]


async def test_headers_name_the_model_and_the_server() -> None:
    server = {"endpoint": "10.0.0.1:8000", "held_ms": 1.5, "queue_ms": 2.0, "cold": True}
    fields = {"model": "m", "path": "/v1/x", **server, "fallback_for": "n"}
    headers = (await Client(**fields).get()).headers
    assert headers["x-modelfleet-model"] == "m"
    assert headers["x-modelfleet-cold"] == "true"
    assert headers["x-modelfleet-endpoint"] == "10.0.0.1:8000"
    assert headers["x-modelfleet-queue-ms"] == "3.5"
    assert headers["x-modelfleet-fallback"] == "n"
    assert not any("modelfleet" in name for name in (await Client().get()).headers)


@pytest.mark.parametrize(
    ("path", "level"),
    [("/livez", logging.DEBUG), ("/metrics", logging.DEBUG), ("/v1", logging.INFO),
     ("/console/api/fleet", logging.DEBUG), ("/console", logging.INFO)],
)  # fmt: skip
async def test_probes_are_logged_at_debug_level(
    path: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fleet_router.callers.access_log")
    await Client().get(path)
    assert [each.levelno for each in caplog.records] == [level]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/console/api/session"])
@pytest.mark.parametrize(("status", "level"), [(401, logging.INFO), (503, logging.DEBUG)])
async def test_a_refused_key_is_logged_on_every_path(
    path: str, status: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fleet_router.callers.access_log")
    await Client(status).get(path)
    assert [each.levelno for each in caplog.records] == [level]


async def test_a_logged_path_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet_router.callers.access_log")
    await Client().get("/" + "x" * 1000)
    (line,) = caplog.records
    assert LOGGED_PATH == 200
    assert "x" * (LOGGED_PATH - 1) in line.getMessage() + str(line.__dict__)
    assert "x" * LOGGED_PATH not in line.getMessage() + str(line.__dict__)


async def test_a_line_has_what_is_known_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fleet_router.callers.access_log")
    fields = {"model": "m", "endpoint": "e", "key": "k", "held_ms": 12.345, "path": "/v1/x"}
    await Client(503, **fields).get("/v1/x")
    (line,) = caplog.records
    shown = dict(line.__dict__["fields"])
    assert shown.pop("ms") >= 0
    assert shown == {**fields, "held_ms": 12.3, "method": "GET", "status": 503}


async def test_the_mean_time_between_chunks_is_observed() -> None:
    fields = {"model": "m", "path": "/v1/x", "first_chunk_at": 10.0, "last_chunk_at": 16.0}
    for chunks, observed in ((2, 0), (3, 1)):
        client = Client(**fields, chunks=chunks)
        await client.get()
        labels = {"model": "m", "path": "/v1/x"}
        total = client.metrics.registry.get_sample_value
        assert total("modelfleet_router_first_byte_seconds_count", labels) == 1
        name = "modelfleet_router_between_pieces_seconds"
        assert (total(f"{name}_count", labels) or 0) == observed
    assert total(f"{name}_sum", labels) == 3.0


async def test_the_limits_of_a_key_are_headers_even_without_a_model() -> None:
    limits = [(b"x-ratelimit-limit-requests", b"10")]
    headers = (await Client(429, limit_headers=limits).get()).headers
    assert headers["x-ratelimit-limit-requests"] == "10"


@pytest.mark.parametrize("streams", [False, True])
async def test_the_time_to_the_first_chunk_is_observed(streams: bool) -> None:
    client = Client(streams=streams, model="m", path="/v1/x")
    await client.get()
    observed = client.metrics.registry.get_sample_value
    labels = {"model": "m", "path": "/v1/x"}
    name = "modelfleet_router_first_byte_seconds"
    assert (observed(f"{name}_count", labels) or 0) == streams
    whole = observed("modelfleet_router_request_seconds_sum", labels)
    assert whole is not None
    assert 0 <= (observed(f"{name}_sum", labels) or 0) <= whole
