"""The comparison of the cache with the API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.listing import LOST_SECONDS, RETRY_SECONDS
from fleet_operator.controller.listing import Listing as NamespaceListing
from fleet_operator.controller.resync import MOST_ROUNDS, Resync, behind, is_stuck, pause
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.observed import Ref
from fleet_operator.features import Features
from fleet_operator.kinds import cached_kinds
from fleet_operator.metrics import Metrics
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from fleet_operator.shard import Shard
from support.operator_objects import model, pod


class Listing:
    """What the API server has, by kind: uid to resourceVersion; None for no API server."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, str]] | None = {}
        self.asked: list[tuple[str, str]] = []
        self.forbidden: set[str | None] = set()

    async def pages(
        self, kind: Kind, namespace: str | None, selector: str, metadata_only: bool
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        if self.has is None:
            raise ApiUnreachable("gone")
        if namespace in self.forbidden:
            raise ApiError(403, "Forbidden", "no")
        self.asked.append((kind.kind, selector))
        yield [{"metadata": {"namespace": "ns", "uid": uid, "resourceVersion": version}}
               for uid, version in self.has.get(kind.kind, {}).items()], "1"  # fmt: skip


@pytest.fixture
def listing() -> Listing:
    return Listing()


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=True)


@pytest.fixture
async def queue() -> WorkQueue:
    return WorkQueue(asyncio.get_running_loop().time)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def resync(
    listing: Listing, cache: ClusterCache, queue: WorkQueue, metrics: Metrics
) -> Resync:
    listed = NamespaceListing(cast(KubeClient, listing), (), Shard())
    return Resync(cache, queue, listed, metrics, cached_kinds(Features(), sees_nodes=True))


async def test_a_synchronized_cache_is_not_stale(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    listing.has = {"InferenceModel": {"uid-m": "5"}}
    for _ in range(3):
        await resync.compare()
    assert (resync.stale, resync.reachable) == (set(), True)
    assert set(resync.ages()) == {
        "InferenceModel", "Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim",
        "Pod",
    }  # fmt: skip


async def test_the_age_of_a_watch_that_is_behind_grows(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    listing.has = {"InferenceModel": {"uid-m": "5"}}
    await resync.compare()
    before = resync.ages()
    listing.has = {"InferenceModel": {"uid-m": "6"}}
    await resync.compare()
    after = resync.ages()
    assert after["InferenceModel"] > before["InferenceModel"]
    assert after["Pod"] < after["InferenceModel"]


async def test_a_watch_that_stays_behind_is_stuck(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    listing.has = {"InferenceModel": {"uid-m": "6", "uid-unseen": "7"}}
    await resync.compare()
    assert resync.stale == set()  # it may just have happened
    await resync.compare()
    assert resync.stale == {"InferenceModel"}
    newer = model()
    newer["metadata"]["resourceVersion"] = "6"
    cache.put_model(newer)
    await resync.compare()
    assert resync.stale == {"InferenceModel"}  # one is still unseen
    seen = model("other", "uid-unseen")
    seen["metadata"]["resourceVersion"] = "7"
    cache.put_model(seen)
    await resync.compare()
    assert resync.stale == set()


async def test_a_busy_object_is_always_a_little_behind(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    for version in range(5, 10):
        raw = model()
        raw["metadata"]["resourceVersion"] = str(version)
        cache.put_model(raw)
        listing.has = {"InferenceModel": {"uid-m": str(version + 1)}}
        await resync.compare()
        assert resync.stale == set()


async def test_objects_that_are_gone_are_dropped(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    await resync.compare()
    assert cache.models == {}
    assert resync.stale == set()


async def test_an_object_that_appears_during_a_list_is_kept(
    resync: Resync, listing: Listing, cache: ClusterCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = listing.pages

    async def pages(kind: Kind, *args: Any, **named: Any) -> AsyncIterator[Any]:
        async for page in whole(kind, *args, **named):
            yield page
        if kind.kind == "InferenceModel":
            cache.put_model(model())

    monkeypatch.setattr(listing, "pages", pages)
    await resync.compare_all()
    assert ("ns", "m") in cache.models


async def test_a_late_watch_is_not_stuck_while_it_delivers(
    resync: Resync, listing: Listing, cache: ClusterCache, metrics: Metrics
) -> None:
    cache.put_model(model())
    listing.has = {"InferenceModel": {"uid-m": "6"}}
    for _ in range(4):
        await resync.compare()
        assert resync.stale == set()
        metrics.seen("InferenceModel")
    for _ in range(2):
        await resync.compare()
    assert resync.stale == {"InferenceModel"}


async def test_a_watch_that_delivers_but_never_catches_up_is_stuck(
    resync: Resync, listing: Listing, cache: ClusterCache, metrics: Metrics
) -> None:
    cache.put_model(model())
    listing.has = {"InferenceModel": {"uid-m": "6"}}
    for _ in range(MOST_ROUNDS + 2):
        await resync.compare()
        metrics.seen("InferenceModel")
    assert resync.stale == {"InferenceModel"}


async def test_foreign_objects_that_are_gone_are_dropped(
    resync: Resync, listing: Listing, cache: ClusterCache, queue: WorkQueue
) -> None:
    """A taken name, the requests of a pod, a node: their deletions were missed."""
    cache.put_model(model())
    other = {"metadata": {"name": "m", "namespace": "ns", "uid": "uid-s", "resourceVersion": "1"}}
    cache.put_child("Service", other)
    stranger = pod("x", requests={"cpu": "2"}, labels={"modelfleet.dev/inferencemodel": ""})
    cache.put_pod(stranger)
    cache.put_node({"metadata": {"name": "node-a", "uid": "uid-n"}})
    kept = {"InferenceModel": {"uid-m": "5"}}
    existing = {"Service": {"uid-s": "1"}, "Pod": {"uid-x": "9"}, "Node": {"uid-n": "1"}}
    listing.has = {**kept, **existing}
    await resync.compare_all()
    before = cache.observe(("ns", "m"))
    assert before is not None
    assert before.cluster is not None
    assert (before.foreign, len(before.cluster.nodes)) == ({Ref("Service", "m")}, 1)
    listing.has = {**kept}
    await resync.compare_all()
    after = cache.observe(("ns", "m"))
    assert after is not None
    assert after.cluster is not None
    assert (after.foreign, after.cluster.nodes) == (frozenset(), [])
    assert after.cluster.used["node-a"] == {}
    assert cache.pods == {}
    queue.open()
    assert await queue.take() == ("ns", "m")
    assert all(selector == "" for _, selector in listing.asked)


async def test_a_namespace_that_became_unreadable_is_not_emptied_at_once(
    listing: Listing, cache: ClusterCache, queue: WorkQueue
) -> None:
    now = [0.0]
    listed = NamespaceListing(cast(KubeClient, listing), ("ns",), Shard(), lambda: now[0])
    resync = Resync(cache, queue, listed, Metrics(), cached_kinds(Features(), sees_nodes=False))
    cache.put_model(model())
    listing.forbidden = {"ns"}
    await resync.compare()
    assert ("ns", "m") in cache.models  # its Role may just be replaced
    assert (resync.reachable, listed.unreadable) == (True, {"ns"})
    now[0] += LOST_SECONDS + 1
    await resync.compare()
    assert cache.models == {}
    listing.forbidden = set()
    now[0] += RETRY_SECONDS + 1
    await resync.compare()
    assert listed.unreadable == set()


async def test_an_unreachable_api_server_changes_nothing(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    listing.has = None
    for _ in range(3):
        await resync.compare()
    assert (resync.reachable, resync.stale) == (False, set())
    assert ("ns", "m") in cache.models
    listing.has = {"InferenceModel": {"uid-m": "5"}}
    await resync.compare()
    assert resync.reachable


def test_comparisons_take_at_most_a_tenth_of_the_time() -> None:
    assert pause(30, taken=0.5) == 30
    assert pause(30, taken=20) == pytest.approx(180)


def test_pure_parts() -> None:
    assert behind({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "1"}) == {"b": "2", "c": "3"}
    assert is_stuck("2", "2", "1")
    assert is_stuck("2", "9", "1")
    assert is_stuck("2", "2", None)
    assert is_stuck("2", "2", "10")  # the API server was restored from an older copy
    assert not is_stuck("2", "11", "10")
    assert not is_stuck("2", "2", "2")
    assert is_stuck("opaque", "opaque", "other")
    assert not is_stuck("opaque", "another", "other")
