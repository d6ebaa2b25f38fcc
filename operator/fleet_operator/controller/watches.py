"""kopf's watches, which feed the cache and the work queue.

Only event handlers are registered, since they add no finalizers or annotations to objects. kopf's
indices are not used: while they fill, each object's task is woken for every other object, which
takes most of the start with a thousand models. `initial_sync` opens the queue instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import kopf

from fleet_kube.connection import Connection
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import CHILDREN, MODEL, NODE, POD
from fleet_operator.metrics import Metrics
from fleet_operator.settings import OperatorSettings

OUTAGE_TRIES = 1000
"""The process exits, to be restarted, after so many failed requests in a row, 5 s apart."""

Put = Callable[[Any], Iterable[Key]]


class NoDiffs(kopf.DiffBaseStorage):
    """Stores no last-handled state, which event handlers do not need."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def registry(
    cache: ClusterCache,
    queue: WorkQueue,
    metrics: Metrics,
    settings: OperatorSettings,
    sees_nodes: bool,
    connection: Connection,
    children: Iterable[Kind] = CHILDREN,
) -> kopf.OperatorRegistry:
    """The login handler and the event handlers of all watched kinds."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, errors=kopf.ErrorsMode.PERMANENT)(login(connection))
    watch = _Watch(made, queue, metrics)
    watch.kind(MODEL, cache.put_model, cache.drop_model)
    for kind in children:
        watch.kind(kind, _child(cache.put_child, kind), _child(cache.drop_child, kind), gather=True)
    watch.kind(POD, cache.put_pod, cache.drop_pod, gather=True)
    if sees_nodes:
        watch.kind(NODE, _without_keys(cache.put_node), _without_keys(cache.drop_node))
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
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.5, 1, 2, 3, *([5.0] * OUTAGE_TRIES))
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.finalizer = "modelfleet.dev/unused"
    settings.queueing.exit_timeout = 1
    settings.queueing.idle_timeout = 2
    settings.process.ultimate_exiting_timeout = 20
    return settings


class _Watch:
    def __init__(self, made: kopf.OperatorRegistry, queue: WorkQueue, metrics: Metrics) -> None:
        self._registry = made
        self._queue = queue
        self._metrics = metrics

    def kind(self, kind: Kind, put: Put, drop: Put, gather: bool = False) -> None:
        """Watch one kind; with `gather`, changes in quick succession lead to one reconcile."""
        add = self._queue.add_soon if gather else self._queue.add
        group, _, version = kind.api_version.rpartition("/")
        where = (group, version, kind.plural)

        async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
            add((drop if type == "DELETED" else put)(_plain(body)))
            self._metrics.seen(kind.kind)

        kopf.on.event(*where, id=f"see-{kind.plural}", registry=self._registry)(seen)


def _plain(body: kopf.Body) -> dict[str, Any]:
    """A shallow copy of kopf's view; the values are shared."""
    return dict(body)


def _child(function: Callable[[str, Any], Iterable[Key]], kind: Kind) -> Put:
    return lambda raw: function(kind.kind, raw)


def _without_keys(function: Callable[[Any], None]) -> Put:
    def call(raw: Any) -> Iterable[Key]:
        function(raw)
        return ()

    return call
