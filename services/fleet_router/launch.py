"""Starts the router's process: settings, routes file, sockets. Called by `command`."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fleet_router.app import Source, create_app
from fleet_router.callers.auth import Auth
from fleet_router.proxy.waiting import WaitSettings
from fleet_router.routing.file_source import FileSource
from fleet_router.routing.table import LiveRoutes, Origin
from fleet_router.settings import RouterSettings
from fleet_web import logs, serve
from fleet_web.logs import event

if TYPE_CHECKING:
    from fleet_router.tracing import Tracing

logger = logging.getLogger(__name__)

COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FILES = 65_536
COLLECT_AFTER = 10_000
"""Objects made, beyond those that went, before the collector looks for cycles."""
FILE_SECONDS = 10.0
"""How long requests wait for a model on one machine: a server that fell is back by then."""
CLUSTER_SECONDS = 300.0
"""And on a cluster, where a node may have to come first."""


def run(path: Path | None, environ: Mapping[str, str]) -> None:
    """Serve the routes of a file, of the cluster where `path` is None, until a signal; then drain.

    A routes file that is missing is waited for. Raises ValueError when it or a setting is wrong, or
    there is no cluster; OSError for a file that cannot be read.
    """
    settings = RouterSettings.read(environ)
    logs.configure("router", settings.log_level, settings.log_format, by_turn=True)
    raise_file_limit()
    routes = LiveRoutes()
    traces = tracing_of(environ)
    if path is None:
        source = from_cluster(settings, routes, environ)
    else:
        source = from_file(path, routes, environ)
    router = create_app(
        routes, source, auth=load_auth(settings), usage_log=settings.usage_log,
        hold=hold_settings(settings, FILE_SECONDS if path else CLUSTER_SECONDS),
        cors_origins=settings.cors_origins, with_metrics=settings.enable_metrics,
        wrap=traces.wrap if traces else None, drain_timeout=settings.drain_timeout,
    )  # fmt: skip
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = serve.Certificate(settings.tls_cert, settings.tls_key)
    # What was built up to here lives for ever: the collector need not look at it again and again.
    gc.freeze()
    # Each look takes time from requests, and these leave little that only it would find.
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    serve.build(
        router.web, settings.host, settings.port,
        drain_timeout=settings.drain_timeout, read_timeout=settings.read_timeout,
        on_drain=router.drain, tls=tls,
    ).run()  # fmt: skip
    if traces is not None:
        traces.close()


def from_file(path: Path, routes: LiveRoutes, environ: Mapping[str, str]) -> Source:
    """The models of a routes file, read now if it is there. Raises ValueError."""
    file = FileSource(path, routes, environ)
    try:
        file.load()
    except FileNotFoundError:
        event(logger, "routes_missing", level=logging.WARNING, path=str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Source(watch=file.watch)


def load_auth(settings: RouterSettings) -> Auth:
    """Who may come in. Raises ValueError or OSError for the file of keys."""
    auth = Auth(settings.keys_file)
    try:
        auth.load()
    except ValueError as error:
        raise ValueError(f"{settings.keys_file}: {error}") from error
    return auth


def hold_settings(settings: RouterSettings, patience: float) -> WaitSettings:
    """How long requests wait; `patience` seconds where the setting is left out."""
    seconds = patience if settings.hold_seconds is None else settings.hold_seconds
    return WaitSettings(seconds, settings.hold_requests, settings.heartbeat_seconds)


def tracing_of(environ: Mapping[str, str]) -> Tracing | None:
    """Traces where a collector is named. Raises ValueError when their packages are missing."""
    if not any(environ.get(name) for name in COLLECTORS):
        return None
    try:
        from fleet_router import tracing
    except ImportError as error:
        raise ValueError("traces need more packages: pip install 'modelfleet[traces]'") from error
    return tracing.from_environment(environ.get("OTEL_SERVICE_NAME") or "modelfleet-router")


def from_cluster(
    settings: RouterSettings, routes: LiveRoutes, environ: Mapping[str, str]
) -> Source:
    """The models of a cluster's namespaces. Raises ValueError if no cluster is configured."""
    # A router of a routes file does without the Kubernetes client, which takes 0.3 s to import.
    try:
        from fleet_kube.client import KubeClient
        from fleet_kube.connection import connect
    except ImportError as error:
        raise ValueError("a cluster needs more packages: pip install 'modelfleet[kube]'") from error
    from fleet_router.kube.source import KubeSource
    from fleet_router.kube.wake import Waker

    connection = asyncio.run(connect(environ))
    client = KubeClient(connection, "modelfleet-router")
    namespaces = settings.namespaces or (connection.namespace,)
    kube = KubeSource(client, namespaces, routes, environ)
    event(logger, "watching", server=connection.server, namespaces=list(namespaces))
    waker = Waker(client)

    def wake(origin: Origin) -> None:
        waker.wake(origin)
        kube.expect(origin)

    async def close() -> None:
        await kube.close()
        await client.close()

    return Source(kube.watch, wake, close, kube.age, scrapes=False)


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets us, up to 65,536: every request takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
