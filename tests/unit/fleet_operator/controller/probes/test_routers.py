"""Scrapes of all routers, and which models are queued."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes.routers import Scraper
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.autoscale import Load
from fleet_operator.resources.resolve import Resolver, Sources
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
        self.text = 'modelfleet_router_in_flight{model="org/m"} 3.0\n'
        self.asked = 0
        self.port = 0

    async def metrics(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.text, status=self.status)


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    made = Router()
    app = web.Application()
    app.router.add_get("/metrics", made.metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


class Fleet:
    """A cache with a router and a scraper."""

    def __init__(self, sources: Sources, router: Router, http: aiohttp.ClientSession) -> None:
        settings = settings_of(ROUTER_PORT=str(router.port))
        resolver = Resolver(sources)
        self.cache = ClusterCache(settings, resolver, sees_nodes=False)
        self.queue = WorkQueue(asyncio.get_running_loop().time)
        self.queue.open()
        self.scraper = Scraper(self.cache, self.queue, resolver, http, settings)

    def add_router(self, **fields: Any) -> None:
        raw = pod("router", labels=ROUTER, **fields)
        raw["status"]["podIP"] = "127.0.0.1"
        self.cache.put_pod(raw)

    def add_model(self, **spec: Any) -> None:
        self.cache.put_model(model(**spec))

    @property
    def load(self) -> Load | None:
        return self.cache.load.of("ns", "org/m")


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
    assert fleet.load == Load(3, 0, complete=True)
    assert await fleet.queue.take() == ("ns", "m")
    fleet.queue.done(("ns", "m"), succeeded=True)
    await fleet.scraper.scrape()
    assert fleet.queue.depth == 0
    router.text = 'modelfleet_router_in_flight{model="org/m"} 4.0\n'
    await fleet.scraper.scrape()
    assert fleet.queue.depth == 1


async def test_routers_are_not_scraped_without_autoscaled_models(
    fleet: Fleet, router: Router
) -> None:
    fleet.add_router()
    fleet.add_model()
    await fleet.scraper.scrape()
    assert (router.asked, fleet.load) == (0, None)


async def test_a_failing_router_makes_the_load_incomplete(fleet: Fleet, router: Router) -> None:
    fleet.add_router()
    fleet.add_model(scaleToZeroAfter=5)
    router.status = 500
    await fleet.scraper.scrape()
    assert fleet.load == Load(0, 0, complete=False)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [({}, 1), ({"deleting": True}, 1), ({"phase": "Succeeded"}, 0), ({"running": False}, 0)],
)
async def test_a_leaving_router_still_counts(
    fleet: Fleet, router: Router, fields: dict[str, Any], asked: int
) -> None:
    fleet.add_router(**fields)
    fleet.add_model(targetInFlight=2)
    await fleet.scraper.scrape()
    assert router.asked == asked
