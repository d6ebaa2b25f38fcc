"""Builds the operator from its parts and runs it until a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import aiohttp
import kopf
import uvloop
from aiohttp import web

from fleet_kube.client import KubeClient
from fleet_kube.connection import Connection, connect
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.rate_limit import RateLimit
from fleet_kube.retries import RETRY_SECONDS, until_settled
from fleet_kube.service_account import own_service_account
from fleet_operator.controller import health, sources, watches
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.cluster_features import features_of, until_changed
from fleet_operator.controller.controller import Controller
from fleet_operator.controller.initial_sync import InitialSync
from fleet_operator.controller.leader_client import LeaderClient
from fleet_operator.controller.leadership import Leadership
from fleet_operator.controller.lease import Owner
from fleet_operator.controller.listing import Listing
from fleet_operator.controller.probes.deletion_costs import DeletionCosts
from fleet_operator.controller.probes.pod_events import PodEvents
from fleet_operator.controller.probes.remote import RemoteProber
from fleet_operator.controller.probes.routers import Scraper
from fleet_operator.controller.probes.servers import Prober
from fleet_operator.controller.probes.traffic import TrafficProber
from fleet_operator.controller.release_models import ReleaseModelsController
from fleet_operator.controller.resync import Resync
from fleet_operator.controller.weights.prefetcher import Prefetcher
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import MODEL, NODE, SERVICE_ACCOUNT, cached_kinds
from fleet_operator.metrics import Metrics
from fleet_operator.names import FIELD_MANAGER, RELEASE_MANAGER
from fleet_operator.namespace_shards import NamespaceShards
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log
from fleet_web.supervise import keep_running

T = TypeVar("T")

logger = logging.getLogger(__name__)

GC_THRESHOLD = 20_000
"""New objects between two collections of the youngest generation: parsed JSON is most of them, and
has no cycles."""


async def run(settings: OperatorSettings, environ: Mapping[str, str]) -> None:
    """Run the operator until a signal. Raises ConfigError, CatalogError and OSError (port taken).

    After a change of what is fixed while it runs (the shard's namespaces, the cluster's features),
    it starts again with empty caches. The process stays: the kubelet would delay its restart.
    """
    gc.freeze()  # what is imported lives as long as the process
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    began = time.time()
    while await _run_once(settings, environ, began):
        gc.collect()  # the caches


async def _run_once(settings: OperatorSettings, environ: Mapping[str, str], began: float) -> bool:
    """Run until a signal or a change; returns whether it was a change. Raises as `run`."""
    metrics = Metrics(began)
    connection = await connect(environ)
    limit = RateLimit(settings.api_requests_per_second, 2 * settings.api_requests_per_second)
    api = LeaderClient(connection, FIELD_MANAGER, metrics.api_call, limit)
    release_api = LeaderClient(connection, RELEASE_MANAGER, metrics.api_call, limit)
    # A backlog of other requests must not delay the renewal of a Lease.
    leases = KubeClient(connection, FIELD_MANAGER, metrics.api_call)
    timeout = aiohttp.ClientTimeout(total=5, connect=2)
    probed = health.Health()
    try:
        async with (
            # First: the kubelet must not restart what waits for the API server or the definition.
            _served(health.application(metrics, probed), settings.port),
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as http,
        ):
            return await _run(settings, metrics, connection, api, release_api, leases, http, probed)
    finally:
        await api.close()


async def _run(
    settings: OperatorSettings,
    metrics: Metrics,
    connection: Connection,
    api: LeaderClient,
    release_api: LeaderClient,
    leases: KubeClient,
    http: aiohttp.ClientSession,
    probed: health.Health,
) -> bool:
    await _definition(api)
    namespaces = NamespaceShards(api, settings.shard, enabled=not settings.namespaces)
    await namespaces.read_first()
    settings = replace(settings, shard=namespaces.shard)
    reader = sources.SourceReader(api, settings)
    resolver = Resolver(await _first_sources(reader))
    with_nodes = await sees_nodes(api, settings)
    features = await features_of(api, settings)
    kinds = cached_kinds(features, with_nodes)
    cache = ClusterCache(settings, resolver, with_nodes, features)
    queue = WorkQueue(asyncio.get_running_loop().time)
    listing = Listing(api, settings.namespaces, settings.shard)
    resync = Resync(cache, queue, listing, metrics, kinds)

    def reconcile_all(namespace: str) -> None:
        queue.add([key for key in cache.models if key[0] == namespace])
        release_models.wake(namespace)

    leadership = Leadership(
        leases, settings.own_namespace, settings.pod_name, settings.shard,
        lambda: {namespace for namespace, _ in cache.models} | release_models.namespaces,
        reconcile_all,
        owner=await own_account(leases, settings.own_namespace),
    )  # fmt: skip
    release_models = ReleaseModelsController(
        cache, release_api, leadership.may_write, lambda: queue.is_open, queue.add
    )
    api.may_write = release_api.may_write = leadership.may_write
    cache.contender = leadership.contender
    metrics.gauge("modelfleet_operator_queue_depth", "Models waiting", lambda: queue.depth)
    metrics.gauge("modelfleet_operator_queue_oldest_seconds", "Longest wait", lambda: queue.oldest)
    metrics.gauge("modelfleet_operator_leader", "Whether this replica is the leader",
                  lambda: float(leadership.leads))  # fmt: skip
    metrics.gauge("modelfleet_operator_namespaces_refused",
                  "Namespaces with models that another release serves",
                  lambda: len(leadership.refused))  # fmt: skip
    metrics.gauge("modelfleet_operator_namespaces_unreadable",
                  "Watched namespaces that were deleted or are forbidden",
                  lambda: len(listing.unreadable))  # fmt: skip
    metrics.gauge("modelfleet_operator_release_models_refused",
                  "Models of the release that could not be created or changed",
                  lambda: len(release_models.refused))  # fmt: skip
    metrics.ages(resync.ages)
    metrics.phases(lambda: [(raw.get("status") or {}).get("phase", "Pending")
                            for raw in cache.models.values()])  # fmt: skip
    if settings.model_metrics:
        metrics.conditions(lambda: list(cache.models.values()))
    logging.getLogger("kopf").setLevel(logging.WARNING)
    registry = watches.registry(cache, queue, metrics, connection)
    reflectors = watches.reflectors(api, cache, queue, metrics, settings.namespaces, kinds)
    prober = Prober(cache, queue, http, PodEvents(cache, api))
    remotes = RemoteProber(cache, queue, resolver, http)
    controller = Controller(
        cache, queue, api, metrics, DeletionCosts(api, http), leadership.may_write
    )
    prefetcher = Prefetcher(cache, resolver, api, leadership.may_write, lambda: queue.is_open)
    metrics.prefetched(lambda: prefetcher.progress)
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "watches": partial(watches.follow, reflectors),
        "leadership": leadership.run,
        "reconcile": partial(controller.run, settings.workers),
        "servers": partial(prober.run, settings.probe_interval),
        "routers": Scraper(cache, queue, resolver, http, settings).run,
        "traffic": TrafficProber(cache, queue, resolver, http, settings).run,
        "remotes": partial(remotes.run, settings.probe_interval),
        "prefetch": partial(prefetcher.run, settings.resync_interval),
        "release_models": release_models.run,
        "initial_sync": InitialSync(cache, queue, listing, kinds).run,
        "resync": partial(resync.run, settings.resync_interval, settings.full_resync_interval),
        "sources": partial(sources.follow, reader, resolver, cache, queue),
    }
    probed.start(resync, queue, leadership)
    log(logger, "started", namespaces=settings.namespaces or "all", nodes=with_nodes,
        device_claims=features.device_claims, inference_pools=features.inference_pools,
        image_volumes=features.image_volumes,
        models=len(resolver.sources.catalog), port=settings.port)  # fmt: skip
    stop = asyncio.Event()
    try:
        changed = await _together(
            kopf.operator(
                registry=registry,
                settings=watches.kopf_settings(),
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                stop_flag=stop,
            ),
            stop,
            [
                *supervised(loops, metrics),
                until_changed(api, settings, features, settings.resync_interval),
                namespaces.until_changed(settings.resync_interval),
            ],
        )
    finally:  # no writer runs any more
        await leadership.release(lambda name: namespaces.shard.owns(name))
    log(logger, "restarting" if changed else "stopped")
    return changed


def supervised(
    loops: Mapping[str, Callable[[], Awaitable[None]]], metrics: Metrics
) -> list[Coroutine[Any, Any, None]]:
    """Coroutines that run the loops for ever: one that ends is logged, counted and restarted."""
    return [keep_running(name, work, ended=metrics.loop_ended) for name, work in loops.items()]


async def _together(
    watching: Coroutine[Any, Any, None],
    stop: asyncio.Event,
    rest: list[Coroutine[Any, Any, None]],
) -> bool:
    """Run kopf, which `stop` ends, and the other tasks; when one ends, all are cancelled.

    Returns whether another one than kopf ended.
    """
    others = [asyncio.create_task(one) for one in rest]
    # At its end kopf stops all tasks that have not started before it, so these start first.
    await asyncio.sleep(0)
    operator = asyncio.create_task(watching)
    try:
        await asyncio.wait([operator, *others], return_when=asyncio.FIRST_COMPLETED)
        changed = not operator.done()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if not operator.done():
            stop.set()  # without it, kopf kills the process some seconds after it was cancelled
            operator.cancel()
            await asyncio.gather(operator, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):  # kopf's handlers, which have no effect now
            asyncio.get_running_loop().remove_signal_handler(number)
    for task in (operator, *others):
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return changed


async def _definition(api: KubeClient) -> None:
    """Wait until the API server serves InferenceModels; a chart may still be installing."""
    while True:
        try:
            if await api.serves(MODEL):
                return
            log(logger, "definition_missing", level=logging.WARNING,
                hint="apply the custom resource definition of inferencemodels")  # fmt: skip
        except ApiUnreachable as error:
            log(logger, "api_unreachable", level=logging.WARNING, error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


async def _first_sources(reader: sources.SourceReader) -> Sources:
    while True:
        try:
            return await reader.read(None)
        except KubeError as error:
            log(logger, "profiles_unreadable", level=logging.WARNING, error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


async def sees_nodes(api: KubeClient, settings: OperatorSettings) -> bool:
    """Whether capacity can be computed: nodes may be listed, and pods of all namespaces are."""
    if settings.namespaces:
        return False
    nodes = partial(api.items, NODE, None, metadata_only=True)
    return await _unless_refused(nodes, "nodes_unseen") is not None


async def own_account(api: KubeClient, namespace: str) -> Owner | None:
    """The operator's ServiceAccount in its own namespace, which its Leases there are deleted with.

    None if it runs as someone else.
    """
    account = await _unless_refused(partial(own_service_account, api), "account_unknown")
    if account is None or account.namespace != namespace:
        return None
    return SERVICE_ACCOUNT.owner_reference(account.name, account.uid)


async def _unless_refused(request: Callable[[], Awaitable[T]], refused: str) -> T | None:
    """The result of a request; None, with the log line `refused`, if it is not allowed.

    Tries again after throttling and while the API server is unavailable, since the result is kept.
    """

    def failed(error: KubeError) -> None:
        event = "api_unreachable" if isinstance(error, ApiUnreachable) else "api_unavailable"
        log(logger, event, level=logging.WARNING, error=str(error))

    try:
        return await until_settled(request, failed)
    except ApiError as error:
        log(logger, refused, level=logging.WARNING, error=str(error))
        return None


@asynccontextmanager
async def _served(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()


def start(environ: Mapping[str, str]) -> None:
    """Read the settings and run. Raises ValueError for a bad setting, and as `run`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(OperatorSettings.read(environ), environ))
