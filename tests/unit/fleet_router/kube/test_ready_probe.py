"""Servers that report ready before their EndpointSlice does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from fleet_router.kube import ready_probe
from fleet_router.kube.objects import SliceView
from fleet_router.kube.ready_probe import EarlyServers, ReadyProbe
from fleet_router.routing.table import Endpoint

KEY, OTHER = ("ns", "m"), ("ns", "other")
ONE, TWO = Endpoint("one", "10.0.0.1", 8000), Endpoint("two", "10.0.0.2", 8000)
SLICE = SliceView("ns", "m", (), (ONE, TWO))
STARTING = {KEY: (ONE, TWO), OTHER: (Endpoint("three", "10.0.0.3", 8000),)}


def starting(key: tuple[str, str]) -> tuple[Endpoint, ...]:
    return STARTING.get(key, ())


class Cluster:
    """Simulates the servers and counts notifications of changes."""

    def __init__(self) -> None:
        self.ready: set[Endpoint] = set()
        self.probed: list[Endpoint] = []
        self.changes = 0
        self.now = 100.0
        self.heard = asyncio.Event()
        self._probes = asyncio.Semaphore(0)

    async def probe(self, endpoint: Endpoint) -> bool:
        self.probed.append(endpoint)
        self._probes.release()
        return endpoint in self.ready

    async def until_probed(self, times: int) -> None:
        for _ in range(times):
            await self._probes.acquire()

    def changed(self, keys: Iterable[tuple[str, str]]) -> None:
        assert set(keys) == {KEY}
        self.changes += 1
        self.heard.set()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(ready_probe.time, "monotonic", made.monotonic)
    return made


@pytest.fixture
async def early(cluster: Cluster) -> EarlyServers:
    return EarlyServers(cluster.probe, cluster.changed)


async def test_only_servers_with_waiting_requests_are_probed(
    cluster: Cluster, early: EarlyServers
) -> None:
    cluster.ready = {ONE}
    await early.probe_once(starting)
    assert cluster.probed == []
    early.expect(KEY)
    await early.probe_once(starting)
    assert cluster.probed == [ONE, TWO]
    assert early.of(SLICE) == (ONE,)
    assert cluster.changes == 1
    await early.probe_once(starting)
    assert cluster.probed == [ONE, TWO, TWO]
    assert cluster.changes == 1


async def test_an_early_server_expires_unless_the_cluster_confirms_it(
    cluster: Cluster, early: EarlyServers
) -> None:
    early.expect(KEY)
    cluster.ready = {ONE}
    await early.probe_once(starting)
    cluster.ready = set()
    cluster.now += ready_probe.TRUSTED_SECONDS
    await early.probe_once(starting)
    assert early.of(SLICE) == ()
    assert cluster.changes == 2


async def test_probing_ends_some_time_after_the_last_waiting_request(
    cluster: Cluster, early: EarlyServers
) -> None:
    early.expect(KEY)
    cluster.now += ready_probe.EXPECTED_SECONDS
    await early.probe_once(starting)
    assert cluster.probed == []


async def test_it_probes_until_the_server_is_ready(
    cluster: Cluster, early: EarlyServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_probe, "EVERY_SECONDS", 0.0)
    task = asyncio.create_task(early.run(starting))
    early.expect(KEY)
    async with asyncio.timeout(10):
        await cluster.until_probed(3)
        cluster.ready = {TWO}
        await cluster.heard.wait()
    assert early.of(SLICE) == (TWO,)
    task.cancel()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    """A server that sends the response in the list."""
    response = [b""]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /readyz ")
        writer.write(response[0])
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield Endpoint("one", "127.0.0.1", port), response
    listening.close()


def http(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return (head + body).encode()


@pytest.mark.parametrize(
    ("response", "ready"),
    [
        (http(200, '{"status": "ready"}'), True),
        (http(503, '{"status": "ready"}'), False),
        (http(200, '{"status": "loading"}'), False),
        (http(200, "ready"), False),
        (http(200, '["ready"]'), False),
        (b"", False),
    ],
)
async def test_responses_that_mean_ready(
    server: tuple[Endpoint, list[bytes]], response: bytes, ready: bool
) -> None:
    endpoint, given = server
    given[0] = response
    ready_probe = ReadyProbe()
    assert await ready_probe(endpoint) is ready
    await ready_probe.close()


async def test_an_unreachable_server_is_not_ready() -> None:
    ready_probe = ReadyProbe()
    assert not await ready_probe(Endpoint("gone", "127.0.0.1", 1))
    await ready_probe.close()
