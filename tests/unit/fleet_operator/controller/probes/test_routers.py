"""Load reports of all routers, and which models are queued."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fleet_contract.api.load_report import ReportedLoad, render
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes.routers import Scraper
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.resources.resolve import Resolver, Sources
from support.aiohttp_server import served
from support.operator_objects import model, pod, settings_of

ROUTER = {
    "app.kubernetes.io/name": "modelfleet",
    "app.kubernetes.io/component": "router",
    "modelfleet.dev/inferencemodel": "",
}


class Router:
    """The response of the router on the loopback, and the number of its requests."""

    def __init__(self) -> None:
        self.status = 200
        self.loads = {"org/m": ReportedLoad(3, 0.0)}
        self.cut = 0
        self.asked = 0
        self.port = 0

    async def load(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        content = render(self.loads)
        if not self.cut:
            return web.Response(body=content, status=self.status)
        response = web.StreamResponse(headers={"content-length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: -self.cut])
        assert request.transport is not None
        request.transport.close()
        return response


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    made = Router()
    async with served(made.load, "/load") as made.port:
        yield made


class Fleet:
    """A cache with a router and a scraper."""

    def __init__(self, sources: Sources, router: Router, http: aiohttp.ClientSession) -> None:
        settings = settings_of(ROUTER_PORT=str(router.port), ROUTER_NAMESPACE="ns")
        resolver = Resolver(sources)
        self.cache = ClusterCache(settings, resolver, sees_nodes=False)
        self.queue = WorkQueue(asyncio.get_running_loop().time)
        self.queue.open()
        self.scraper = Scraper(self.cache, self.queue, resolver, http, settings)

    def add_router(self, namespace: str = "ns", **fields: Any) -> None:
        raw = pod("router", **{"labels": ROUTER, "ready": True, **fields})
        raw["metadata"]["namespace"] = namespace
        raw["status"]["podIP"] = "127.0.0.1"
        self.cache.put_pod(raw)

    def add_model(self, **spec: Any) -> None:
        self.cache.put_model(model(**spec))

    @property
    def load(self) -> Load | None:
        return self.cache.load.of("org/m")


@pytest.fixture
async def fleet(sources: Sources, router: Router) -> AsyncIterator[Fleet]:
    async with aiohttp.ClientSession() as http:
        yield Fleet(sources, router, http)


async def test_autoscaled_models_are_queued_when_their_load_changes(
    fleet: Fleet, router: Router
) -> None:
    fleet.add_router()
    fleet.add_model(targetInFlight=2)
    await fleet.scraper.scrape()
    assert fleet.load is not None
    assert (fleet.load.in_flight, fleet.load.complete) == (3, True)
    assert await fleet.queue.take() == ("ns", "m")
    fleet.queue.done(("ns", "m"), succeeded=True)
    await fleet.scraper.scrape()
    assert fleet.queue.depth == 0
    router.loads = {"org/m": ReportedLoad(4, 0.0)}
    await fleet.scraper.scrape()
    assert fleet.queue.depth == 1


@pytest.mark.parametrize("spec", [{}, {"targetInFlight": 2, "stopped": True}])
async def test_routers_are_not_requested_without_autoscaled_models(
    fleet: Fleet, router: Router, spec: dict[str, Any]
) -> None:
    fleet.add_router()
    fleet.add_model(**spec)
    await fleet.scraper.scrape()
    assert (router.asked, fleet.load) == (0, None)


async def test_routers_are_requested_for_models_that_may_yield(
    fleet: Fleet, router: Router
) -> None:
    fleet.add_router()
    fleet.add_model(yieldsAfter=0)
    await fleet.scraper.scrape()
    assert (router.asked, fleet.load) != (0, None)


async def test_a_failing_router_makes_the_load_incomplete(fleet: Fleet, router: Router) -> None:
    fleet.add_router()
    fleet.add_model(scaleToZeroAfter=5)
    router.status = 500
    await fleet.scraper.scrape()
    assert fleet.load == Load(0, None, complete=False)


async def test_a_report_of_many_models_is_read_to_its_end(fleet: Fleet, router: Router) -> None:
    fleet.add_router()
    fleet.add_model(targetInFlight=2)
    many = {f"org/{n}-{'x' * 100}": ReportedLoad(1, 0.0) for n in range(5000)}
    router.loads = {**many, "org/m": ReportedLoad(3, 0.0)}
    await fleet.scraper.scrape()
    assert fleet.load is not None
    assert (fleet.load.in_flight, fleet.load.complete) == (3, True)


async def test_a_report_that_ends_early_is_that_of_a_silent_router(
    fleet: Fleet, router: Router
) -> None:
    fleet.add_router()
    fleet.add_model(targetInFlight=2)
    await fleet.scraper.scrape()
    router.loads = {"org/m": ReportedLoad(9, 0.0)}
    for router.cut in (1, 10):
        await fleet.scraper.scrape()
        assert fleet.load is not None
        assert (fleet.load.in_flight, fleet.load.complete) == (3, False)


async def test_a_report_above_the_bound_is_refused(
    fleet: Fleet, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_operator.controller.probes.routers.REPORT_BYTES", 20)
    fleet.add_router()
    fleet.add_model(targetInFlight=2)
    await fleet.scraper.scrape()
    assert fleet.load == Load(0, None, complete=False)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, 1),
        ({"deleting": True}, 1),
        ({"ready": False, "deleting": True}, 1),  # drains: its streams count
        ({"ready": False}, 0),  # starting, or on a dead node
        ({"phase": "Succeeded"}, 0),
        ({"running": False}, 0),
        ({"namespace": "tenant"}, 0),  # labels alone make no router of this release
        ({"labels": {"app.kubernetes.io/name": "modelfleet"}}, 0),
    ],
)
async def test_ready_and_draining_routers_of_the_release_count(
    fleet: Fleet, router: Router, fields: dict[str, Any], asked: int
) -> None:
    fleet.add_router(**fields)
    fleet.add_model(targetInFlight=2)
    await fleet.scraper.scrape()
    assert router.asked == asked
    assert (fleet.load is not None) == bool(asked)
