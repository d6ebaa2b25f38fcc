"""What kopf and the reflectors watch; no finalizers or annotations on objects."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import cast

import kopf
import pytest
from kubernetes.aio.client import Configuration

from fleet_kube.client import KubeClient
from fleet_kube.connection import TOKEN, Connection, LoadedConfiguration
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.watches import NoDiffs, kopf_settings, login, reflectors, registry
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.features import Features
from fleet_operator.kinds import cached_kinds
from fleet_operator.metrics import Metrics
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model, pod

WATCHED = [
    "deployments", "services", "poddisruptionbudgets", "persistentvolumeclaims", "pods",
]  # fmt: skip


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=True)


async def made(cache: ClusterCache) -> kopf.OperatorRegistry:
    queue = WorkQueue(asyncio.get_running_loop().time)
    return registry(cache, queue, Metrics(), Connection(Configuration(host="http://127.0.0.1:1")))


@pytest.mark.parametrize(
    ("namespaces", "nodes", "paths"),
    [
        ((), True, [f"{plural}" for plural in (*WATCHED, "nodes")]),
        (("a", "b"), False, [f"{name}/{plural}" for plural in WATCHED for name in "ab"]),
    ],
)
async def test_what_reflectors_watch(
    cache: ClusterCache, namespaces: tuple[str, ...], nodes: bool, paths: list[str]
) -> None:
    queue, api = WorkQueue(asyncio.get_running_loop().time), cast(KubeClient, None)
    kinds = cached_kinds(Features(), nodes)
    found = [one._path for one in reflectors(api, cache, queue, Metrics(), namespaces, kinds)]
    assert [path.partition("/namespaces/")[2] or path.rpartition("/")[2] for path in found] == paths


async def test_events_reach_cache_queue_and_metrics(cache: ClusterCache) -> None:
    queue, metrics = WorkQueue(asyncio.get_running_loop().time), Metrics()
    kinds = cached_kinds(Features(), sees_nodes=True)
    made = reflectors(cast(KubeClient, None), cache, queue, metrics, (), kinds)
    pods = next(one for one in made if one._path.endswith("/pods"))
    cache.put_model(model())
    pods._put(pod())
    assert set(cache.pods) == {"uid-m-1"}
    assert metrics.delivered("Pod") == 1
    queue.open()
    assert await queue.take() == ("ns", "m")
    pods._gone("uid-m-1")
    assert cache.pods == {}


async def test_only_handlers_without_finalizers(cache: ClusterCache) -> None:
    found = await made(cache)
    assert {one.any_name for one in found._watching.get_all_selectors()} == {"inferencemodels"}
    assert not found._indexing.get_all_selectors()
    assert not found._changing.get_all_handlers()
    assert not found._spawning.get_all_handlers()


def test_watches_time_out_and_outages_are_retried() -> None:
    settings = kopf_settings()
    assert settings.watching.server_timeout
    assert settings.watching.client_timeout
    assert settings.watching.client_timeout > settings.watching.server_timeout
    backoffs = settings.networking.error_backoffs
    assert isinstance(backoffs, Iterable)
    for _ in range(2):  # each request begins anew
        first = list(itertools.islice(backoffs, 200))
        assert first[0] < 1
        assert first == sorted(first)
        assert sum(first) > 3600
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


def test_no_diffs_are_computed_or_stored() -> None:
    storage = NoDiffs()
    assert storage.fetch(body={}) is None
    assert storage.build(body={"spec": {}}) == {}


async def test_kopf_logs_in_with_the_connection_and_again_after_a_rejected_token() -> None:
    async def load(configuration: Configuration) -> LoadedConfiguration:
        configuration.api_key[TOKEN] = "bearer two"
        return LoadedConfiguration("ns", 60.0)

    found = Configuration(host="https://10.0.0.1:443", api_key={TOKEN: "Bearer one"})
    found.verify_ssl = False
    handler = login(Connection(found, LoadedConfiguration("ns", 60.0), load))
    first, second = await handler(), await handler()
    assert first.as_http_headers() == {"Authorization": "Bearer one"}
    assert second.as_http_headers() == {"Authorization": "bearer two"}
    assert (first.server, first.insecure, first.default_namespace) == (
        "https://10.0.0.1:443", True, "ns",
    )  # fmt: skip
