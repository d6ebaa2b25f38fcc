"""Builds the router's web app.

Proxied requests bypass FastAPI, whose routing would cost more than the proxying itself; FastAPI
serves the router's own routes and refuses everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from fleet_contract.names import (
    HEADER_COLD,
    HEADER_DECODE_MS,
    HEADER_ENDPOINT,
    HEADER_FALLBACK,
    HEADER_FIRST_TOKEN_MS,
    HEADER_MODEL,
    HEADER_PROMPT_MS,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
    HEADER_UNENFORCED,
)
from fleet_router.callers.access_log import AccessMiddleware
from fleet_router.callers.auth import Auth
from fleet_router.callers.history import History
from fleet_router.callers.usage_log import UsageLog
from fleet_router.callers.usage_sink import Sink, UsageSink
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import Attempts
from fleet_router.proxy.proxy import Proxy
from fleet_router.proxy.transcription import Transcriber
from fleet_router.proxy.waiting import WaitingRoom, WaitSettings
from fleet_router.routing.paths import PATHS
from fleet_router.routing.table import Change, LiveRoutes, Origin, RouteTable, server_prices
from fleet_router.status.admin import Admin
from fleet_router.status.console import Console
from fleet_router.status.control import Control
from fleet_router.status.fleet_view import Details, FleetView
from fleet_router.status.orders import ClusterOrders, LocalOrders, Orders
from fleet_router.status.server_reports import ServerReports
from fleet_router.tracing import TracingMiddleware
from fleet_router.upstream.outliers import Outliers
from fleet_router.upstream.picker import EndpointPicker
from fleet_router.upstream.pool import PoolManager
from fleet_web import errors, side_server
from fleet_web.direct import DirectAPI
from fleet_web.loopback_guard import LoopbackGuard
from fleet_web.request_id import RequestIdMiddleware
from fleet_web.supervise import keep_running
from fleet_web.tracing import Tracing

EXPOSED = (
    HEADER_REQUEST_ID, HEADER_MODEL, HEADER_ENDPOINT, HEADER_QUEUE_MS, HEADER_PROMPT_MS,
    HEADER_FIRST_TOKEN_MS, HEADER_DECODE_MS, HEADER_COLD, HEADER_UNENFORCED,
    HEADER_FALLBACK, "retry-after", "retry-after-ms",
)  # fmt: skip
"""Response headers that web pages may read."""

WAIT_SHARE = 0.8
"""Share of the drain timeout during which requests may wait for a server; the rest is for their
responses."""


@dataclass(frozen=True, slots=True)
class RouterApp:
    """The web app, the callback for the first signal, and the metrics."""

    web: FastAPI
    drain: Callable[[], None]
    metrics: RouterMetrics


@dataclass(frozen=True, slots=True)
class Source:
    """Where routes come from.

    `watch` updates them until it is cancelled, `wake` requests a server of a resource, `close`
    frees what the source uses. `age` is the time in seconds since the last sign of life of what is
    watched, `unreadable` has namespace and kind of each watch and whether it is refused. `details`
    is what the console shows of a resource besides its route. With `scrapes`, the servers' metrics
    are merged into the router's. `version` is that of the routes file.
    """

    watch: Callable[[], Awaitable[None]] | None = None
    wake: Callable[[Origin], None] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    age: Callable[[], float] | None = None
    unreadable: Callable[[], Iterable[tuple[str, str, bool]]] | None = None
    details: Details | None = None
    scrapes: bool = True
    version: Callable[[], int] | None = None


def create_app(
    routes: LiveRoutes,
    source: Source | None = None,
    *,
    wait_settings: WaitSettings | None = None,
    auth: Auth | None = None,
    usage_log: Path | None = None,
    usage_log_max_bytes: int = 0,
    usage_sink: Sink | None = None,
    cors_origins: Sequence[str] = (),
    loopback_hosts: Sequence[str] | None = None,
    warning: str = "",
    metrics_listener: socket.socket | None = None,
    tracing: Tracing | None = None,
    drain_timeout: float = 30.0,
    with_metrics: bool = True,
    control: str = "",
    with_console: bool = False,
    transcription_model: str | None = None,
) -> RouterApp:
    """The router over `routes`, which `source` fills; `tracing` is applied to requests to models.

    `loopback_hosts` are the names besides localhost of a router on a loopback address: what needs
    no key there is refused to web pages. None for another address. `warning` is shown at /health.
    With `metrics_listener`, /metrics is served there and not on the port for clients. `control` is
    the secret of the process that started the router (ENV_CONTROL), "" for none. With
    `with_console`, the console is served at `/`. `transcription_model` transcribes recordings in
    chats, None for the only model that can.

    Raises OSError when the usage log cannot be opened.
    """
    source = source or Source()
    pools = PoolManager()
    metrics = RouterMetrics()
    if source.age is not None:
        metrics.watch_age(source.age)
    if source.unreadable is not None:
        metrics.unreadable(source.unreadable)
    auth = auth or Auth()
    sink = UsageSink(usage_sink, metrics) if usage_sink is not None else None
    usage = UsageLog(metrics, usage_log, usage_log_max_bytes, sink)
    metrics.server_prices(lambda: server_prices(routes.table))
    admin = Admin(
        routes, pools, metrics, auth, scrapes=source.scrapes, warning=warning,
        exemplars=tracing is not None,
    )  # fmt: skip
    history = History() if with_console else None
    outliers = Outliers()
    picker = EndpointPicker(pools, outliers)
    attempts = Attempts(pools, picker, metrics)
    waiting_room = WaitingRoom(routes, wait_settings or WaitSettings(), metrics, source.wake)

    def apply(change: Change) -> None:
        for route in change.added:
            outliers.add(route.endpoints)
        table = routes.table or RouteTable()
        listed = table.endpoints()
        # Not every server of a removed route: a changed route is in both lists.
        gone = {one for route in change.removed for one in route.endpoints if one not in listed}
        pools.forget(gone)
        pools.sweep(listed)
        outliers.forget(gone)
        picker.absent.forget(gone)
        models = {route.model for route in change.removed if not table.serves(route.model)}
        attempts.forget(models)
        waiting_room.forget(models)

    routes.on_change = apply
    if routes.table is not None:
        apply(Change((), routes.table.routes))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loops: dict[str, Callable[[], Awaitable[None]]] = {}
        if auth.required:
            loops["keys"] = auth.watch
        if source.watch is not None:
            loops["routes"] = source.watch
        if usage.enabled:
            loops["usage_log"] = usage.run
            # Where signals can be handled; logrotate sends one after it moved the file away.
            with contextlib.suppress(RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, usage.reopen)
        if sink is not None:
            loops["usage_sink"] = sink.run
        if metrics_listener is not None and with_metrics:
            loops["metrics_port"] = partial(
                side_server.serve, _private(admin, loopback_hosts), metrics_listener
            )
        tasks = [
            asyncio.create_task(keep_running(name, work, ended=metrics.loop_ended))
            for name, work in loops.items()
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # After its loop has ended, since both write to the same file.
        usage.close()
        if sink is not None:
            await sink.close()
        if source.close is not None:
            await source.close()
        pools.close()

    request_id = Middleware(RequestIdMiddleware)
    # From the outside in. The request id comes first, because every log line has it; tracing reads
    # the record that the access log fills; requests that the guard refuses are logged.
    access = Middleware(AccessMiddleware, metrics=metrics, usage_log=usage, history=history)
    inner = [access]
    if loopback_hosts is not None and not auth.required:
        guard = Middleware(LoopbackGuard, hosts=loopback_hosts, origins=cors_origins)
        inner.append(guard)
    if cors_origins:
        inner.append(Middleware(CORSMiddleware, **cors_options(cors_origins)))
    app = DirectAPI(
        title="Modelfleet router", docs_url=None, redoc_url=None, openapi_url=None,
        lifespan=lifespan, redirect_slashes=False, middleware=[request_id, *inner],
    )  # fmt: skip
    proxy = Proxy(routes, attempts, waiting_room, metrics, auth, transcription_model)
    proxy.transcriber = Transcriber(AccessMiddleware(proxy, metrics, usage, history))
    traced = [Middleware(TracingMiddleware, tracing=tracing)] if tracing is not None else []
    app.bypass(PATHS.keys(), proxy, [request_id, *traced, *inner])
    # Reached only with another method, which becomes a 405.
    app.router.routes.extend(Route(path, proxy, methods=["POST"]) for path in PATHS)
    on_main_port = with_metrics and metrics_listener is None
    app.include_router(admin.router(with_metrics=on_main_port))
    orders: Orders | None = ClusterOrders(source.wake) if source.wake is not None else None
    if control and source.version is not None:
        orders = local = LocalOrders()
        app.include_router(Control(control, source.version, metrics.load, local).router())
    if history is not None:
        reports, held = ServerReports(pools), waiting_room.waiting
        view = FleetView(admin.models, reports, metrics, history, held, source.details)
        console = Console(
            routes, auth, metrics, view, open_metrics=on_main_port,
            orders=orders, open_orders=loopback_hosts is not None,
        )  # fmt: skip
        app.include_router(console.router())
    errors.install(app)

    def drain() -> None:
        admin.draining = True
        waiting_room.drain(drain_timeout * WAIT_SHARE)

    return RouterApp(app, drain, metrics)


def _private(admin: Admin, loopback_hosts: Sequence[str] | None) -> FastAPI:
    """The app of the port for metrics."""
    guards = []
    if loopback_hosts is not None:
        guards.append(Middleware(LoopbackGuard, hosts=loopback_hosts))
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, middleware=guards
    )  # fmt: skip
    app.include_router(admin.private_router())
    errors.install(app)
    return app


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """CORS options: pages of `origins` may do everything that clients can, without cookies."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["*"],
        "expose_headers": EXPOSED,
        "max_age": 3600,
    }
