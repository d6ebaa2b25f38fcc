"""Runs the router's process: reads settings, builds the source of routes and the app, serves it."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from fleet_contract.names import ENV_CONTROL
from fleet_router.app import Source, create_app
from fleet_router.callers.auth import Auth
from fleet_router.callers.usage_sink import Sink
from fleet_router.proxy.waiting import WaitSettings
from fleet_router.routing.file_source import FileSource
from fleet_router.routing.table import LiveRoutes, Origin
from fleet_router.settings import RouterSettings
from fleet_web import exposure, logs, serve, side_server
from fleet_web.logs import event
from fleet_web.tracing import load as load_tracing

logger = logging.getLogger(__name__)

MAX_FILES = 65_536
SWITCH_SECONDS = 0.0005
"""Time after which a thread that renders metrics gives way to the streams."""
GC_THRESHOLD = 10_000
"""New objects between two collections of the youngest generation."""
FILE_SECONDS = 10.0
"""HOLD_SECONDS with a routes file: a server restarts within that time."""
CLUSTER_SECONDS = 300.0
"""HOLD_SECONDS on a cluster, where a node may have to start first."""


def run(path: Path | None, environ: Mapping[str, str]) -> None:
    """Serve the routes in the file `path`, or of the cluster if None, until a signal; then drain.

    A missing routes file is awaited. Raises ValueError if the file or a setting is invalid or there
    is no cluster, OSError if a file cannot be read.
    """
    settings = RouterSettings.read(environ)
    logs.configure("router", settings.log_level, settings.log_format, batched=True)
    raise_file_limit()
    has_keys = settings.keys_file is not None
    exposure.require_keys(settings.host, has_keys=has_keys, allowed=settings.allow_unauthenticated)
    if warning := exposure.warning(settings.host, settings.port, has_keys=has_keys):
        event(logger, "unauthenticated", level=logging.WARNING, warning=warning)
    is_loopback = exposure.is_loopback(settings.host)
    listener = None
    if settings.metrics_port is not None and settings.enable_metrics:
        listener = side_server.listen(settings.host, settings.metrics_port)
    routes = LiveRoutes()
    tracing = load_tracing(environ, "modelfleet-router")
    if path is None:
        source = from_cluster(settings, routes, environ)
    else:
        source = from_file(path, routes, environ)
    router = create_app(
        routes, source, auth=load_auth(settings),
        usage_sink=(
            Sink(settings.usage_sink, settings.usage_sink_token) if settings.usage_sink else None
        ),
        usage_log=settings.usage_log, usage_log_max_bytes=settings.usage_log_max_bytes,
        wait_settings=load_wait_settings(settings, FILE_SECONDS if path else CLUSTER_SECONDS),
        cors_origins=settings.cors_origins, with_metrics=settings.enable_metrics,
        with_console=settings.enable_console,
        tracing=tracing,
        drain_timeout=settings.drain_timeout, warning=warning, metrics_listener=listener,
        loopback_hosts=settings.allowed_hosts if is_loopback else None,
        control=environ.get(ENV_CONTROL, ""), transcription_model=settings.transcription_model,
    )  # fmt: skip
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = serve.Certificate(settings.tls_cert, settings.tls_key)
    # What exists now lives as long as the process: the collector need not examine it again.
    gc.freeze()
    # Every collection delays requests, and requests leave few cycles.
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)
    serve.build(
        router.web, settings.host, settings.port,
        drain_timeout=settings.drain_timeout, read_timeout=settings.read_timeout,
        read_rate=settings.read_rate, body_timeout=settings.body_timeout,
        keep_alive=settings.keep_alive_seconds,
        on_drain=router.drain, tls=tls,
    ).run()  # fmt: skip
    if tracing is not None:
        tracing.close()


def from_file(path: Path, routes: LiveRoutes, environ: Mapping[str, str]) -> Source:
    """The routes in a file, loaded now if it exists. Raises ValueError."""
    file = FileSource(path, routes, environ)
    try:
        file.load()
    except FileNotFoundError:
        event(logger, "routes_missing", level=logging.WARNING, path=str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Source(watch=file.watch, version=lambda: file.version)


def load_auth(settings: RouterSettings) -> Auth:
    """The authentication of callers. Raises ValueError or OSError for the key file."""
    auth = Auth(settings.keys_file)
    try:
        auth.load()
    except ValueError as error:
        raise ValueError(f"{settings.keys_file}: {error}") from error
    return auth


def load_wait_settings(settings: RouterSettings, default: float) -> WaitSettings:
    """How long requests wait; `default` seconds if HOLD_SECONDS is not set."""
    seconds = default if settings.hold_seconds is None else settings.hold_seconds
    return WaitSettings(seconds, settings.hold_requests, settings.heartbeat_seconds)


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
    from fleet_router.kube.details import Details
    from fleet_router.kube.source import KubeSource
    from fleet_router.kube.wake import Waker

    connection = asyncio.run(connect(environ))
    client = KubeClient(connection, "modelfleet-router")
    namespaces = settings.namespaces or (connection.namespace,)
    details = Details() if settings.enable_console else None
    kube = KubeSource(client, namespaces, routes, environ, details)
    event(logger, "watching", server=connection.server, namespaces=list(namespaces))
    waker = Waker(client)

    def wake(origin: Origin) -> None:
        waker.wake(origin)
        kube.expect(origin)

    async def close() -> None:
        await kube.close()
        await client.close()

    return Source(
        kube.watch, wake, close, kube.age, kube.unreadable,
        details=details.of if details is not None else None, scrapes=False,
    )  # fmt: skip


def raise_file_limit() -> None:
    """Raise the limit of open files to 65,536 if the system permits: a request uses two sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
