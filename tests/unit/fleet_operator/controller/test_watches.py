"""kopf: watched kinds, and no finalizers or annotations on objects."""

from __future__ import annotations

import asyncio

import kopf
from kubernetes.aio.client import Configuration

from fleet_kube.connection import TOKEN, Connection, Loaded
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.watches import NoDiffs, kopf_settings, login, registry
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.metrics import Metrics
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings

WATCHED = {
    "inferencemodels", "deployments", "services", "poddisruptionbudgets",
    "persistentvolumeclaims", "pods",
}  # fmt: skip


async def made(
    settings: OperatorSettings, sources: Sources, sees_nodes: bool
) -> kopf.OperatorRegistry:
    cache = ClusterCache(settings, Resolver(sources), sees_nodes)
    queue = WorkQueue(asyncio.get_running_loop().time)
    connection = Connection(Configuration(host="http://127.0.0.1:1"))
    return registry(cache, queue, Metrics(), settings, sees_nodes, connection)


async def test_kinds(settings: OperatorSettings, sources: Sources) -> None:
    for sees_nodes, kinds in ((False, WATCHED), (True, WATCHED | {"nodes"})):
        found = await made(settings, sources, sees_nodes)
        assert {one.any_name for one in found._watching.get_all_selectors()} == kinds
        assert not found._indexing.get_all_selectors()


async def test_only_handlers_without_finalizers(
    settings: OperatorSettings, sources: Sources
) -> None:
    found = await made(settings, sources, sees_nodes=True)
    assert not found._changing.get_all_handlers()
    assert not found._spawning.get_all_handlers()


def test_watches_time_out_and_outages_are_retried() -> None:
    settings = kopf_settings()
    assert settings.watching.server_timeout
    assert settings.watching.client_timeout
    assert settings.watching.client_timeout > settings.watching.server_timeout
    backoffs = settings.networking.error_backoffs
    assert sum(backoffs) > 3600  # type: ignore[arg-type]
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


def test_no_diffs_are_computed_or_stored() -> None:
    storage = NoDiffs()
    assert storage.fetch(body={}) is None
    assert storage.build(body={"spec": {}}) == {}


async def test_kopf_logs_in_with_the_connection_and_again_after_a_rejected_token() -> None:
    async def load(configuration: Configuration) -> Loaded:
        configuration.api_key[TOKEN] = "bearer two"
        return Loaded("ns", 60.0)

    found = Configuration(host="https://10.0.0.1:443", api_key={TOKEN: "Bearer one"})
    found.verify_ssl = False
    handler = login(Connection(found, Loaded("ns", 60.0), load))
    first, second = await handler(), await handler()
    assert first.as_http_headers() == {"Authorization": "Bearer one"}
    assert second.as_http_headers() == {"Authorization": "bearer two"}
    assert (first.server, first.insecure, first.default_namespace) == (
        "https://10.0.0.1:443", True, "ns",
    )  # fmt: skip
