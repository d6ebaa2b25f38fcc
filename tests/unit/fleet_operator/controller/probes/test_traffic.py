"""Comparisons of models whose weight rises, from the counters of all routers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes.traffic import NAMES, TrafficProber, growth, tallies
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.observed import Comparison, Tally
from fleet_operator.resources.resolve import Resolver, Sources
from support.aiohttp_server import served
from support.operator_objects import model, pod, settings_of

ROUTER = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/component": "router",
          "modelfleet.dev/inferencemodel": ""}  # fmt: skip
SINCE = "2026-01-01T12:00:00Z"
SHARE = {"weight": 10, "start": 10, "version": "v", "reason": "Rising", "since": SINCE}


def exposition(**counts: tuple[int, int, float]) -> str:
    """The metrics of a router: requests, 5xx among them and seconds to first bytes, by model."""
    lines = ["# HELP modelfleet_router_requests_total x"]
    for name, (requests, errors, seconds) in counts.items():
        known = f'model="org/{name}",path="/v1/chat/completions"'
        lines += [
            f'modelfleet_router_requests_total{{{known},key="",code="200"}} {requests - errors}.0',
            f'modelfleet_router_requests_total{{{known},key="",code="503"}} {errors}.0',
            f'modelfleet_router_first_byte_seconds_bucket{{{known},le="1.0"}} {requests}.0',
            f"modelfleet_router_first_byte_seconds_count{{{known}}} {requests}.0",
            f"modelfleet_router_first_byte_seconds_sum{{{known}}} {seconds}",
        ]
    return "\n".join([*lines, "modelfleet_router_watch_age_seconds 1.0", ""])


class Fleet:
    """A cache with a model and the primary of its group, and routers on the loopback."""

    def __init__(self, sources: Sources, http: aiohttp.ClientSession, port: int) -> None:
        settings = settings_of(ROUTER_PORT=str(port), POD_NAMESPACE="ns")
        resolver = Resolver(sources)
        self.cache = ClusterCache(settings, resolver, sees_nodes=False)
        self.queue = WorkQueue(asyncio.get_running_loop().time)
        self.queue.open()
        self.prober = TrafficProber(self.cache, self.queue, resolver, http, settings)
        self.add("old", uid="old", model="org/old", aliases=["chat"])
        self.canary()

    def add(self, name: str, uid: str, **fields: Any) -> None:
        status = fields.pop("status", {})
        raw = {**model(name, uid=uid, **fields), "status": status}
        raw["metadata"]["resourceVersion"] = str(next(VERSIONS))
        self.cache.put_model(raw)

    def canary(self, **share: Any) -> None:
        traffic = {"group": "chat", "weight": 10, "rise": {}}
        self.add("new", uid="new", model="org/new", traffic=traffic,
                 status={"traffic": {**SHARE, **share}})  # fmt: skip

    def router(self, name: str = "router", **fields: Any) -> None:
        raw = pod(name, labels=ROUTER, **{"ready": True, **fields})
        raw["status"]["podIP"] = "127.0.0.1"
        self.cache.put_pod(raw)

    @property
    def comparison(self) -> Comparison | None:
        return self.cache.comparisons.get(("ns", "new"))


VERSIONS = iter(range(10, 10_000))


class Stub:
    """What the routers respond, and how often."""

    def __init__(self) -> None:
        self.text = exposition(old=(100, 1, 10.0), new=(10, 0, 1.0))
        self.status = 200
        self.requests = 0
        self.port = 0

    async def metrics(self, _: web.Request) -> web.Response:
        self.requests += 1
        return web.Response(text=self.text, status=self.status)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    async with served(made.metrics, "/metrics") as made.port:
        yield made


@pytest.fixture
async def fleet(sources: Sources, stub: Stub) -> AsyncIterator[Fleet]:
    async with aiohttp.ClientSession() as http:
        yield Fleet(sources, http, stub.port)


async def test_what_the_counters_grow_by_is_compared(fleet: Fleet, stub: Stub) -> None:
    fleet.router()
    await fleet.prober.compare()
    assert fleet.comparison is None
    stub.text = exposition(old=(190, 3, 30.0), new=(20, 1, 3.0))
    await fleet.prober.compare()
    assert fleet.comparison == Comparison(SINCE, Tally(10, 1, 2.0, 10), Tally(90, 2, 20.0, 90))
    assert await fleet.queue.take() == ("ns", "new")


async def test_a_new_weight_begins_again(fleet: Fleet, stub: Stub) -> None:
    fleet.router()
    await fleet.prober.compare()
    later = "2026-01-01T13:00:00Z"
    fleet.canary(since=later, weight=20)
    await fleet.prober.compare()
    stub.text = exposition(old=(101, 1, 10.0), new=(11, 0, 1.0))
    await fleet.prober.compare()
    assert fleet.comparison == Comparison(later, Tally(1, 0, 0.0, 1), Tally(1, 0, 0.0, 1))


async def test_all_routers_count(fleet: Fleet, stub: Stub) -> None:
    fleet.router("router")
    fleet.router("another")
    await fleet.prober.compare()
    stub.text = exposition(old=(100, 1, 10.0), new=(15, 0, 2.0))
    await fleet.prober.compare()
    assert fleet.comparison is not None
    assert fleet.comparison.own == Tally(10, 0, 2.0, 10)


@pytest.mark.parametrize("fields", [{"ready": False}, {"deleting": True, "ready": False}])
async def test_only_ready_routers_are_read(
    fleet: Fleet, stub: Stub, fields: dict[str, Any]
) -> None:
    fleet.router(**fields)
    await fleet.prober.compare()
    assert stub.requests == 0


@pytest.mark.parametrize("reason", ["TakenBack", "WaitingForServers"])
async def test_nothing_is_read_while_no_weight_may_change(
    fleet: Fleet, stub: Stub, reason: str
) -> None:
    fleet.router()
    fleet.canary(reason=reason)
    await fleet.prober.compare()
    assert stub.requests == 0


@pytest.mark.parametrize(
    ("status", "text"), [(500, ""), (200, "modelfleet_router_requests_total{")]
)
async def test_a_router_that_gives_no_metrics_is_no_evidence(
    fleet: Fleet, stub: Stub, status: int, text: str
) -> None:
    fleet.router()
    await fleet.prober.compare()
    stub.status, stub.text = status, text
    await fleet.prober.compare()
    assert fleet.comparison is None


async def test_one_silent_router_makes_a_comparison_incomplete(fleet: Fleet, stub: Stub) -> None:
    fleet.router()
    await fleet.prober.compare()
    raw = pod("silent", labels=ROUTER, ready=True)
    raw["status"]["podIP"] = "127.0.0.2"  # nothing listens there
    fleet.cache.put_pod(raw)
    stub.text = exposition(old=(190, 3, 30.0), new=(20, 1, 3.0))
    await fleet.prober.compare()
    assert fleet.comparison is not None
    assert fleet.comparison.own.requests == 10
    assert not fleet.comparison.complete


async def test_earlier_requests_of_a_router_that_becomes_ready_do_not_count(
    fleet: Fleet, stub: Stub
) -> None:
    fleet.router()
    await fleet.prober.compare()
    fleet.router("late")
    await fleet.prober.compare()
    stub.text = exposition(old=(101, 1, 10.0), new=(11, 0, 1.0))
    await fleet.prober.compare()
    assert fleet.comparison is not None
    assert (fleet.comparison.own.requests, fleet.comparison.primary.requests) == (2, 2)


def test_disconnects_and_waiting_are_counted() -> None:
    text = exposition(a=(4, 1, 3.0)) + "\n".join([
        'modelfleet_router_requests_total{model="org/a",path="/x",key="",code="499"} 2.0',
        'modelfleet_router_held_seconds_sum{model="org/a"} 2.5', "",
    ])  # fmt: skip
    found = tallies(text.splitlines())["org/a"]
    assert found == Tally(6, 1, 3.0, 4, 2, 2.5)
    assert found.mean_first_byte == 0.125


@pytest.mark.parametrize(
    ("code", "rejected"),
    [("400", 1), ("404", 1), ("413", 1), ("422", 1),
     ("200", 0), ("401", 0), ("403", 0), ("429", 0), ("499", 0), ("500", 0)],
)  # fmt: skip
def test_rejections_are_counted_except_those_of_the_router(code: str, rejected: int) -> None:
    line = f'modelfleet_router_requests_total{{model="m",path="/p",key="",code="{code}"}} 1.0'
    found = tallies([line])["m"]
    assert (found.requests, found.rejected) == (1, rejected)


def test_a_restarted_router_counts_from_zero() -> None:
    before = {"a": {"m": Tally(100, 5, 10.0, 100)}, "gone": {"m": Tally(7, 0, 1.0, 7)}}
    after = {"a": {"m": Tally(3, 1, 0.5, 3)}, "new": {"m": Tally(2, 0, 0.5, 2)}}
    assert growth(after, before, "m") == Tally(5, 1, 1.0, 5)
    assert growth(after, before, "none") == Tally()


def test_the_counters_are_those_of_the_routers() -> None:
    from fleet_router.metrics import RouterMetrics

    known = {sample.name for family in RouterMetrics().registry.collect()
             for sample in family.samples}  # fmt: skip
    names = set(RouterMetrics().registry._names_to_collectors)
    assert set(NAMES) <= names | known


def test_the_paths_of_a_model_are_summed() -> None:
    text = exposition(a=(4, 1, 1.0), b=(2, 0, 0.5)) + exposition(a=(6, 0, 1.0))
    assert tallies(text.splitlines()) == {
        "org/a": Tally(10, 1, 2.0, 10), "org/b": Tally(2, 0, 0.5, 2),
    }  # fmt: skip
