"""Watches that feed cache and work queue: InferenceModels by kopf, the rest by reflectors.

Of kopf only event handlers are used, since they add no finalizers or annotations to objects. Its
indices are not used: while they fill, each object's task is woken for every other object, which
takes most of the start with a thousand models. `initial_sync` opens the queue instead. kopf keeps
a task and about 35 kB for each object, too much for the pods of a large cluster, and does not
report deletions that a watch missed.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import kopf

from fleet_kube.client import KubeClient
from fleet_kube.connection import Connection
from fleet_kube.kind import Kind
from fleet_kube.reflector import Reflector, uid_of
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import MODEL, NODE, POD
from fleet_operator.metrics import Metrics

FIRST_BACKOFFS = (0.5, 1.0, 2.0, 3.0, *([5.0] * 60))
LATER_BACKOFF = 30.0
"""Seconds between the tries of a failed request, for ever: the API server may be away for hours, a
watched namespace may have been deleted for good."""

Put = Callable[[Any], Iterable[Key]]


class Backoffs:
    """The backoffs of one request; kopf iterates over them anew for each."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(FIRST_BACKOFFS, itertools.repeat(LATER_BACKOFF))


class NoDiffs(kopf.DiffBaseStorage):
    """Stores no last-handled state, which event handlers do not need."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def registry(
    cache: ClusterCache, queue: WorkQueue, metrics: Metrics, connection: Connection
) -> kopf.OperatorRegistry:
    """The login handler and the event handler of InferenceModels."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, errors=kopf.ErrorsMode.PERMANENT)(login(connection))
    handler = _Handlers(queue, metrics, MODEL, gather=False)
    put, drop = handler(cache.put_model), handler(cache.drop_model)

    async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        (drop if type == "DELETED" else put)(_plain(body))

    group, _, version = MODEL.api_version.rpartition("/")
    kopf.on.event(group, version, MODEL.plural, id="see-models", registry=made)(seen)
    return made


def login(connection: Connection) -> Callable[..., Awaitable[kopf.ConnectionInfo]]:
    """kopf's login handler: the credentials of `connection`, renewed after the first call."""
    given: str | None = None

    async def handler(**_: Any) -> kopf.ConnectionInfo:
        nonlocal given
        if given is not None:  # kopf logs in again only after a 401
            await connection.renew(given)
        given = await connection.authorization()
        scheme, *token = given.split(maxsplit=1) or [""]
        found = connection.configuration
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            scheme=scheme or None,
            token=token[0] if token else None,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            default_namespace=connection.namespace,
            proxy_url=found.proxy,
        )

    return handler


def kopf_settings() -> kopf.OperatorSettings:
    """kopf's settings: bounded watches and requests, no peering, no Events of its own."""
    settings = kopf.OperatorSettings()
    settings.watching.chunk_size = 250
    settings.watching.server_timeout = 240
    # Later than the API server ends a watch: only for a connection that died unnoticed.
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    # kopf would create Events for its own log messages.
    settings.posting.enabled = False
    # kopf would watch definitions and namespaces, which needs cluster-wide rights.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffs()
    # Never added to an object, because there are only event handlers.
    settings.persistence.finalizer = "modelfleet.dev/unused"
    settings.queueing.exit_timeout = 1
    # Seconds after its last event until the worker task of an object ends.
    settings.queueing.idle_timeout = 2
    settings.process.ultimate_exiting_timeout = 20
    return settings


class _Handlers:
    """Pass objects to the cache and what they affect to the work queue."""

    def __init__(self, queue: WorkQueue, metrics: Metrics, kind: Kind, gather: bool) -> None:
        """With `gather`, changes in quick succession lead to one reconcile."""
        self._add = queue.add_soon if gather else queue.add
        self._metrics = metrics
        self._kind = kind.kind

    def __call__(self, change: Callable[[Any], Iterable[Key]]) -> Callable[[Any], None]:
        def seen(raw: Any) -> None:
            self._metrics.seen(self._kind)
            self._add(change(raw))

        return seen


def reflectors(
    api: KubeClient,
    cache: ClusterCache,
    queue: WorkQueue,
    metrics: Metrics,
    namespaces: tuple[str, ...],
    kinds: Iterable[Kind],
) -> list[Reflector[str]]:
    """Deliver all objects of `kinds` except InferenceModels to the cache; most may be foreign."""
    made = []
    for kind in kinds:
        if kind is MODEL:
            continue
        handler = _Handlers(queue, metrics, kind, gather=kind is not NODE)
        put, drop = _changes(cache, kind)
        gone = handler(partial(cache.drop, kind.kind))
        for namespace in (namespaces or (None,)) if kind.namespaced else (None,):
            made.append(Reflector(api, kind, namespace, handler(put), handler(drop), gone, uid_of))
    return made


async def follow(made: list[Reflector[str]]) -> None:
    """Run all reflectors, for ever."""
    async with asyncio.TaskGroup() as group:
        for each in made:
            group.create_task(each.follow())


def _changes(cache: ClusterCache, kind: Kind) -> tuple[Put, Put]:
    if kind is POD:
        return cache.put_pod, cache.drop_pod
    if kind is NODE:
        return _without_keys(cache.put_node), _without_keys(cache.drop_node)
    return partial(cache.put_child, kind.kind), partial(cache.drop_child, kind.kind)


def _plain(body: kopf.Body) -> dict[str, Any]:
    """A shallow copy of kopf's view; the values are shared."""
    return dict(body)


def _without_keys(function: Callable[[Any], None]) -> Put:
    def call(raw: Any) -> Iterable[Key]:
        function(raw)
        return ()

    return call
