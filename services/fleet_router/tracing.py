"""OpenTelemetry tracing: one span for each proxied request, with its context sent to the server.

Needs OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; without a collector, the
client's `traceparent` is forwarded as it is. The other OTEL_ variables have their documented
meaning (opentelemetry.io/docs, SDK environment variables). Attribute names:
opentelemetry.io/docs/specs/semconv (http, gen-ai).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_router.callers.request_record import record_of

CONTEXT = (b"traceparent", b"tracestate")
"""W3C Trace Context: w3.org/TR/trace-context."""
_propagator = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Tracing:
    """`close` sends the remaining spans; it blocks, for seconds if the collector is unreachable."""

    tracer: Tracer
    close: Callable[[], None]

    def middleware(self) -> Middleware:
        """The middleware that makes a span of each request."""
        return Middleware(TracingMiddleware, tracer=self.tracer)


def from_environment(service: str) -> Tracing:
    """Tracing by the OTEL_ variables of the process; `service` is the default of its name."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider.get_tracer("fleet_router"), provider.shutdown)


class TracingMiddleware:
    """Pure ASGI; must be outside of AccessMiddleware, which completes the record."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        received = {name.decode(): value.decode("latin-1") for name, value in headers
                 if name in CONTEXT}  # fmt: skip
        span = self._tracer.start_span(
            scope["method"], _propagator.extract(received), SpanKind.SERVER
        )
        injected: dict[str, str] = {}
        _propagator.inject(injected, set_span_in_context(span))
        kept = [(name, value) for name, value in headers if name not in CONTEXT]
        kept += [(name.encode(), value.encode()) for name, value in injected.items()]
        scope = {**scope, "headers": kept}
        with use_span(span, end_on_exit=True):
            try:
                await self._app(scope, receive, send)
            finally:
                _describe(span, scope)


def _describe(span: Span, scope: Scope) -> None:
    record = record_of(scope)
    span.update_name(f"{scope['method']} {record.path or 'other'}")
    attributes: dict[str, str | int | float] = {
        "http.request.method": scope["method"],
        "http.route": record.path,
        "http.response.status_code": record.status,
        "gen_ai.request.model": record.model,
        "gen_ai.usage.input_tokens": record.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": record.usage.completion_tokens,
        "modelfleet.endpoint": record.endpoint,
        "modelfleet.attempts": record.attempts,
        "modelfleet.held_ms": record.held_ms,
        "modelfleet.fallback_for": record.fallback_for,
    }
    span.set_attributes({name: value for name, value in attributes.items() if value})
