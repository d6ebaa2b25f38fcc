"""One log line and one set of metrics for every request; mounted outside of all routes."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.names import HEADER_ENDPOINT, HEADER_MODEL
from fleet_router.exchange import KEY, Exchange
from fleet_router.metrics import RouterMetrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)

QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Paths asked every few seconds by machines; logged at debug level."""
LOGGED_PATH = 200


class AccessMiddleware:
    """Pure ASGI. Also sets the headers that say who answered, on errors too."""

    def __init__(self, app: ASGIApp, metrics: RouterMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[KEY] = Exchange()
        started = time.perf_counter()
        status = 500

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                exchange.begun = True
                if exchange.model:
                    message["headers"] = [*message["headers"], *_names(exchange)]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:
            seconds = time.perf_counter() - started
            self._report(scope, exchange, exchange.status or status, seconds)

    def _report(self, scope: Scope, exchange: Exchange, status: int, seconds: float) -> None:
        if exchange.path:
            self._metrics.requests.labels(exchange.model, exchange.path, str(status)).inc()
            self._metrics.seconds.labels(exchange.model, exchange.path).observe(seconds)
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
            ms=round(seconds * 1000, 2),
        )


def _names(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    names = [(HEADER_MODEL.encode(), exchange.model.encode())]
    if exchange.endpoint:
        names.append((HEADER_ENDPOINT.encode(), exchange.endpoint.encode()))
    return names
