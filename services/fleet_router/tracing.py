"""One span for each proxied request, with its context sent to the server.

Without a collector the client's `traceparent` is forwarded as it is.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_router.callers.request_record import EXEMPLAR, record_of
from fleet_web.tracing import PROVIDER, Tracing, Value, describe, exemplar_of, operation


class TracingMiddleware:
    """Pure ASGI; must be outside of AccessMiddleware, which completes the record."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        span = self._tracing.start(scope["method"], scope["headers"])
        headers = self._tracing.headers_in(span, scope["headers"])
        scope = {**scope, "headers": headers, EXEMPLAR: exemplar_of(span)}
        try:
            await self._app(scope, receive, send)
        finally:
            record = record_of(scope)
            span.update_name(f"{scope['method']} {record.path or 'other'}")
            describe(span, record.status, attributes(scope))
            span.end()


def attributes(scope: Scope) -> dict[str, Value]:
    """The attributes of a request that are known."""
    record = record_of(scope)
    name = operation(record.path)
    found: dict[str, Value] = {
        "http.request.method": scope["method"],
        "http.route": record.path,
        "gen_ai.operation.name": name,
        "gen_ai.provider.name": PROVIDER if name else "",
        "gen_ai.request.model": record.model,
        "gen_ai.usage.input_tokens": record.usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.usage.cached_tokens,
        "gen_ai.usage.output_tokens": record.usage.completion_tokens,
        "modelfleet.key": record.key,
        "modelfleet.endpoint": record.endpoint,
        "modelfleet.attempts": record.attempts,
        "modelfleet.held_ms": record.held_ms,
        "modelfleet.queue_ms": record.queue_ms,
        "modelfleet.fallback_for": record.fallback_for,
    }
    return {name: value for name, value in found.items() if value}
