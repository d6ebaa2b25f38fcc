"""Nothing is reconciled before all existing objects are in the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable
from fleet_kube.kind import Kind
from fleet_operator.controller import initial_sync
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.initial_sync import InitialSync
from fleet_operator.controller.listing import Listing as NamespaceListing
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.features import Features
from fleet_operator.kinds import cached_kinds
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from fleet_operator.shard import Shard
from support.operator_objects import model, pod

SERVICE = {"name": "s", "namespace": "ns", "uid": "uid-s", "resourceVersion": "1"}
NODE = {"metadata": {"name": "node-a", "uid": "uid-n"}}


class Listing:
    """What the API server has, by kind; None for no API server."""

    def __init__(self) -> None:
        self.has: dict[str, list[dict[str, Any]]] | None = {}
        self.asked: list[str] = []
        self.forbidden: set[str | None] = set()
        self.all_asked = asyncio.Event()

    async def pages(
        self, kind: Kind, namespace: str | None, selector: str, metadata_only: bool
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        assert metadata_only
        if namespace in self.forbidden:
            raise ApiError(403, "Forbidden", "no")
        self.asked.append(kind.kind)
        if kind.kind == "Node" or self.has is None:
            self.all_asked.set()
        if self.has is None:
            raise ApiUnreachable("gone")
        yield [{"metadata": raw["metadata"]} for raw in self.has.get(kind.kind, [])], "1"


@pytest.fixture
async def listing() -> Listing:
    return Listing()


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=True)


Begin = Callable[..., WorkQueue]


@pytest.fixture
async def begin(
    listing: Listing, cache: ClusterCache, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Begin]:
    """Starts the synchronization; returns the queue that it opens."""
    monkeypatch.setattr(initial_sync, "EVERY_SECONDS", 0.0)
    tasks = []

    def start(*namespaces: str) -> WorkQueue:
        queue = WorkQueue(asyncio.get_running_loop().time)
        listed = NamespaceListing(cast(KubeClient, listing), namespaces, Shard())
        sight = InitialSync(cache, queue, listed, cached_kinds(Features(), sees_nodes=True))
        tasks.append(asyncio.create_task(sight.run()))
        return queue

    yield start
    for task in tasks:
        assert not task.done()  # the operator ends with the first of its tasks that ends
        task.cancel()


async def opened(queue: WorkQueue) -> None:
    queue.add([("ns", "m")])
    async with asyncio.timeout(10):
        await queue.take()


async def test_an_empty_cluster_is_seen_at_once(begin: Begin) -> None:
    await opened(begin())


async def test_all_listed_objects_are_awaited_including_foreign_ones(
    begin: Begin, listing: Listing, cache: ClusterCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial_sync, "CHECKS", 10**9)
    listing.has = {
        "InferenceModel": [model()], "Pod": [pod()], "Service": [{"metadata": SERVICE}],
        "Node": [NODE],
    }  # fmt: skip
    queue = begin()
    await listing.all_asked.wait()
    for see in (
        lambda: cache.put_model(model()),
        lambda: cache.put_pod(pod()),
        lambda: cache.put_child("Service", {"metadata": SERVICE}),
    ):
        see()
        await asyncio.sleep(0.01)
        assert not queue.is_open
    cache.put_node(NODE)
    await opened(queue)
    assert set(listing.asked) == {
        "InferenceModel", "Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim",
        "Pod", "Node",
    }  # fmt: skip


async def test_objects_deleted_before_they_were_seen_are_not_awaited(
    begin: Begin, listing: Listing
) -> None:
    listing.has = {"Pod": [pod()]}
    queue = begin()
    await listing.all_asked.wait()
    listing.has = {}
    await opened(queue)


async def test_one_object_that_cannot_be_read_does_not_stop_all_others(
    begin: Begin, listing: Listing, cache: ClusterCache, caplog: pytest.LogCaptureFixture
) -> None:
    listing.has = {"InferenceModel": [model()], "Pod": [pod()]}
    cache.put_model(model())
    await opened(begin())
    assert listing.asked.count("Pod") == 2
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "not_seen"
    ]


async def test_an_unavailable_api_server_is_retried(begin: Begin, listing: Listing) -> None:
    listing.has = None
    queue = begin()
    await listing.all_asked.wait()
    assert not queue.is_open
    listing.has = {}
    await opened(queue)


async def test_a_deleted_namespace_is_an_empty_one(
    begin: Begin, listing: Listing, cache: ClusterCache
) -> None:
    listing.forbidden = {"deleted"}
    listing.has = {"InferenceModel": [model()]}
    queue = begin("deleted", "ns")
    await listing.all_asked.wait()
    assert not queue.is_open
    cache.put_model(model())
    await opened(queue)
