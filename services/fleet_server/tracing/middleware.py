"""One span for each inference request, with a child for each of its phases."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_server.tracing.recording import Phase, Recording, begin
from fleet_web.request_id import current as current_request_id
from fleet_web.tracing import PROVIDER, Tracing, Value, describe, exemplar_of, operation

if TYPE_CHECKING:
    from opentelemetry.trace import Span

CLIENT_GONE = 499


class TracingMiddleware:
    """Pure ASGI; must be outside of AccessMiddleware, whose measurements have exemplars. `model` is
    the id of the model that is served."""

    def __init__(self, app: ASGIApp, tracing: Tracing, model: str) -> None:
        self._app = app
        self._tracing = tracing
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = operation(scope["path"]) if scope["type"] == "http" else ""
        if not name:
            await self._app(scope, receive, send)
            return
        span = self._tracing.start(f"{name} {self._model}", scope["headers"])
        recording = Recording(exemplar_of(span))
        begin(recording)
        status = CLIENT_GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            known: dict[str, Value] = {
                "http.request.method": scope["method"],
                "http.route": scope["path"],
                "gen_ai.operation.name": name,
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": self._model,
                "modelfleet.request_id": current_request_id(),
            }
            describe(span, status, known | recording.attributes)
            self._children(span, recording.phases, time.time_ns() - time.monotonic_ns())
            span.end()

    def _children(self, parent: Span, phases: Iterable[Phase], offset: int) -> None:
        """Spans of phases; `offset` is the Unix time at 0 of their clock, in nanoseconds."""
        for phase in phases:
            start, end = (offset + round(at * 1e9) for at in (phase.start, phase.end))
            span = self._tracing.child(parent, phase.name, start, end)
            self._children(span, phase.parts, offset)
