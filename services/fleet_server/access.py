"""Counts and logs every request of a server and notes its caller, as pure ASGI middleware."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.names import PATH_HEALTH, PATH_LIVE, PATH_METRICS, PATH_READY
from fleet_server.caller import set_caller
from fleet_server.metrics import Metrics
from fleet_web.logs import event

logger = logging.getLogger("access")

QUIET = frozenset({PATH_LIVE, PATH_READY, PATH_HEALTH, PATH_METRICS})


class AccessMiddleware:
    """`routes` are the paths allowed as a metric's label; all others are counted as `other`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self.app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        set_caller(scope)
        started = time.monotonic()
        status = 499  # the client disconnected before a response began

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = time.monotonic() - started
            path = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.responded(path, status, seconds)
            event(
                logger, "request", method=scope["method"], path=scope["path"][:200],
                status=status, ms=round(seconds * 1000, 1),
            )  # fmt: skip
