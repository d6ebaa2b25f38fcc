"""One log line and one set of metrics for every request."""

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
    PATH_CONTROL,
    PATH_LOAD,
    PATH_METRICS,
)
from fleet_router.callers.history import History
from fleet_router.callers.request_record import EXEMPLAR, KEY, RequestRecord
from fleet_router.callers.usage_log import UsageLog
from fleet_router.metrics import RouterMetrics
from fleet_web import request_id
from fleet_web.logs import event

logger = logging.getLogger(__name__)

QUIET = frozenset({"/livez", "/readyz", "/health", PATH_METRICS, PATH_LOAD, PATH_CONTROL})
"""Paths that probes request every few seconds; logged at debug level."""
QUIET_PREFIX = "/console/"
"""As QUIET: an open page of the console requests these every few seconds."""
REFUSED = frozenset({401, 403})
"""Logged for every path: nobody can try keys without a line in the log."""
LOGGED_PATH = 200

MODEL = HEADER_MODEL.encode()
ENDPOINT = HEADER_ENDPOINT.encode()
QUEUE_MS = HEADER_QUEUE_MS.encode()
COLD = HEADER_COLD.encode()
FALLBACK = HEADER_FALLBACK.encode()


class AccessMiddleware:
    """Pure ASGI. Also sets the headers that name model and server, on errors too. With `history`,
    each request to a model is added to it."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: RouterMetrics,
        usage_log: UsageLog,
        history: History | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._usage_log = usage_log
        self._history = history

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = scope[KEY] = RequestRecord()
        started = time.perf_counter()
        status = 500  # of an app that fails before its response starts

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if record.model or record.limit_headers:
                    message["headers"] = [*message["headers"], *_headers(record)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            record.status = record.status or status
            self._report(scope, record, record.status, started, seconds)

    def _report(
        self, scope: Scope, record: RequestRecord, status: int, started: float, seconds: float
    ) -> None:
        if record.path:
            self._count(record, status, started, seconds, scope.get(EXEMPLAR))
            if self._history is not None:
                self._history.add(record, status, started, seconds, request_id.current())
        path = scope["path"]
        event(
            logger,
            "request",
            level=logging.DEBUG if _is_quiet(path, status) else logging.INFO,
            method=scope["method"],
            path=path[:LOGGED_PATH],
            model=record.model,
            **({"adapter": record.adapter} if record.adapter else {}),
            endpoint=record.endpoint,
            status=status,
            key=record.key,
            held_ms=round(record.held_ms, 1),
            ms=round(seconds * 1000, 2),
        )

    def _count(
        self,
        record: RequestRecord,
        status: int,
        started: float,
        seconds: float,
        exemplar: dict[str, str] | None,
    ) -> None:
        metrics, model, path = self._metrics, record.model, record.path
        metrics.requests.of(model, path, record.key, str(status)).inc()
        metrics.seconds.of(model, path).observe(seconds, exemplar)
        if record.chunks:
            first = record.first_chunk_at - started
            metrics.first_byte.of(model, path).observe(first, exemplar)
        if record.chunks > 2:
            mean = (record.last_chunk_at - record.first_chunk_at) / (record.chunks - 1)
            metrics.between_pieces.of(model, path).observe(mean)
        if model:
            self._usage_log.report(record, status, seconds)


def _is_quiet(path: str, status: int) -> bool:
    return status not in REFUSED and (path in QUIET or path.startswith(QUIET_PREFIX))


def _headers(record: RequestRecord) -> list[tuple[bytes, bytes]]:
    headers = [*(record.limit_headers or ())]
    if record.model:
        cold = b"true" if record.cold else b"false"
        headers += [(MODEL, record.model.encode()), (COLD, cold)]
    if record.endpoint:
        waited = record.held_ms + record.queue_ms
        headers += [(ENDPOINT, record.endpoint.encode()), (QUEUE_MS, b"%.1f" % waited)]
    if record.fallback_for:
        headers.append((FALLBACK, record.fallback_for.encode()))
    return headers
