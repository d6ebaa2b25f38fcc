"""The comparison of the cache with the API server."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiUnreachable
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.resync import Resync, behind, is_stuck
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.metrics import Metrics
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model


class Listing:
    """What the API server has, by kind: uid to resourceVersion; None for no API server."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, str]] | None = {}

    async def items(
        self, kind: Kind, namespace: str | None, selector: str, metadata_only: bool
    ) -> list[dict[str, Any]]:
        if self.has is None:
            raise ApiUnreachable("gone")
        return [{"metadata": {"uid": uid, "resourceVersion": version}}
                for uid, version in self.has.get(kind.kind, {}).items()]  # fmt: skip


@pytest.fixture
def listing() -> Listing:
    return Listing()


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=False)


@pytest.fixture
async def resync(listing: Listing, cache: ClusterCache) -> Resync:
    queue = WorkQueue(asyncio.get_running_loop().time)
    return Resync(cache, queue, cast(KubeClient, listing), Metrics(), ())


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


async def test_objects_missing_in_two_comparisons_are_dropped(
    resync: Resync, listing: Listing, cache: ClusterCache
) -> None:
    cache.put_model(model())
    await resync.compare()
    assert ("ns", "m") in cache.models
    await resync.compare()
    assert cache.models == {}
    assert resync.stale == set()


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
