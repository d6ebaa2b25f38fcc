"""One log line and one set of metrics for every request; mounted outside of all routes."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.names import (
    HEADER_COLD,
    HEADER_ENDPOINT,
    HEADER_FALLBACK,
    HEADER_MODEL,
    HEADER_QUEUE_MS,
)
from fleet_router.callers.request_record import KEY, RequestRecord
from fleet_router.callers.usage_log import UsageLog
from fleet_router.metrics import RouterMetrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)

QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Paths asked every few seconds by machines; logged at debug level."""
LOGGED_PATH = 200

MODEL = HEADER_MODEL.encode()
ENDPOINT = HEADER_ENDPOINT.encode()
QUEUE_MS = HEADER_QUEUE_MS.encode()
COLD = HEADER_COLD.encode()
FALLBACK = HEADER_FALLBACK.encode()


class AccessMiddleware:
    """Pure ASGI. Also sets the headers that say who answered, on errors too."""

    def __init__(self, app: ASGIApp, metrics: RouterMetrics, meter: UsageLog) -> None:
        self._app = app
        self._metrics = metrics
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[KEY] = RequestRecord()
        started = time.perf_counter()
        status = 500

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                exchange.begun = True
                if exchange.model or exchange.limits:
                    message["headers"] = [*message["headers"], *_names(exchange)]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:
            seconds = time.perf_counter() - started
            exchange.status = exchange.status or status
            self._report(scope, exchange, exchange.status, started, seconds)

    def _report(
        self, scope: Scope, exchange: RequestRecord, status: int, started: float, seconds: float
    ) -> None:
        if exchange.path:
            self._count(exchange, status, started, seconds)
        path = scope["path"]
        event(
            logger,
            "request",
            level=logging.DEBUG if path in QUIET else logging.INFO,
            method=scope["method"],
            path=path[:LOGGED_PATH],
            model=exchange.model,
            endpoint=exchange.endpoint,
            status=status,
            key=exchange.key,
            held_ms=round(exchange.held_ms, 1),
            ms=round(seconds * 1000, 2),
        )

    def _count(self, exchange: RequestRecord, status: int, started: float, seconds: float) -> None:
        metrics, model, path = self._metrics, exchange.model, exchange.path
        metrics.requests.of(model, path, exchange.key, str(status)).inc()
        metrics.seconds.of(model, path).observe(seconds)
        if exchange.pieces:
            metrics.first_byte.of(model, path).observe(exchange.first_at - started)
        if exchange.pieces > 2:
            mean = (exchange.last_at - exchange.first_at) / (exchange.pieces - 1)
            metrics.between_pieces.of(model, path).observe(mean)
        if model:
            self._meter.report(exchange, status, seconds)


def _names(exchange: RequestRecord) -> list[tuple[bytes, bytes]]:
    names = [*(exchange.limits or ())]
    if exchange.model:
        cold = b"true" if exchange.cold else b"false"
        names += [(MODEL, exchange.model.encode()), (COLD, cold)]
    if exchange.endpoint:
        waited = exchange.held_ms + exchange.queue_ms
        names += [(ENDPOINT, exchange.endpoint.encode()), (QUEUE_MS, b"%.1f" % waited)]
    if exchange.fallback_for:
        names.append((FALLBACK, exchange.fallback_for.encode()))
    return names
