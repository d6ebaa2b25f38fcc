"""Probes of remote addresses: which, how often, and how responses are evaluated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes.remote import PATIENCE, ROUNDS, RemoteProber
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.aiohttp_server import served
from support.operator_objects import model


class Elsewhere:
    """A server on the loopback that responds with `status`; `asked` counts its requests."""

    status = 200
    asked = 0
    address = ""

    async def models(self, request: web.Request) -> web.Response:
        self.asked += 1
        assert "authorization" not in request.headers
        return web.Response(status=self.status, headers={"location": "http://127.0.0.1:1/"})


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    made = Elsewhere()
    async with served(made.models, "/base/v1/models") as port:
        made.address = f"http://127.0.0.1:{port}/base"
        yield made


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=False)


@pytest.fixture
async def prober(
    cache: ClusterCache, settings: OperatorSettings, sources: Sources
) -> AsyncIterator[RemoteProber]:
    queue = WorkQueue(asyncio.get_running_loop().time)
    async with aiohttp.ClientSession() as http:
        yield RemoteProber(cache, queue, Resolver(sources), http)


def add(cache: ClusterCache, address: str, generation: int = 1) -> None:
    raw = model(engine="remote", remote={"address": address})
    raw["metadata"] |= {"generation": generation, "resourceVersion": str(10 + generation)}
    cache.put_model(raw)


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (302, True), (401, True), (404, True), (503, False)]
)
async def test_reachability_by_status(
    cache: ClusterCache, prober: RemoteProber, elsewhere: Elsewhere, status: int, answers: bool
) -> None:
    elsewhere.status = status
    add(cache, elsewhere.address)
    await prober.probe_all()
    report = cache.remotes["uid-m"]
    result = "responds." if answers else "responds with status 503."
    assert (report.reachable, report.message) == (answers, f"{elsewhere.address} {result}")


async def test_an_address_without_a_server_is_unreachable(
    cache: ClusterCache, prober: RemoteProber, elsewhere: Elsewhere
) -> None:
    address = elsewhere.address.replace("/base", "0/base")  # not a valid port
    add(cache, address)
    await prober.probe_all()
    assert not cache.remotes["uid-m"].reachable
    assert cache.remotes["uid-m"].message.startswith(f"{address} does not respond: ")


async def test_a_reachable_address_is_probed_less_often_and_retried(
    cache: ClusterCache, prober: RemoteProber, elsewhere: Elsewhere
) -> None:
    add(cache, elsewhere.address)
    for _ in range(2 * ROUNDS):
        await prober.probe_all()
    assert elsewhere.asked == 3
    elsewhere.status = 503
    while elsewhere.asked == 3:
        await prober.probe_all()
    assert cache.remotes["uid-m"].reachable
    for _ in range(PATIENCE - 1):
        await prober.probe_all()
    assert not cache.remotes["uid-m"].reachable
    elsewhere.status = 200
    for _ in range(ROUNDS):
        await prober.probe_all()
    assert cache.remotes["uid-m"].reachable


async def test_a_new_address_is_probed_at_once_and_a_deleted_model_is_removed(
    cache: ClusterCache, prober: RemoteProber, elsewhere: Elsewhere
) -> None:
    add(cache, "http://127.0.0.1:1")
    await prober.probe_all()
    assert not cache.remotes["uid-m"].reachable
    add(cache, elsewhere.address, generation=2)
    await prober.probe_all()
    assert cache.remotes["uid-m"].reachable
    cache.drop_model(model())
    await prober.probe_all()
    assert cache.remotes == {}
