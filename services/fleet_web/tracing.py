"""OpenTelemetry's set-up of a process, and its GenAI attributes; off unless a collector is set.

Needs OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and the packages of
`modelfleet[traces]`, which are imported only then. The other OTEL_ variables have their documented
meaning (opentelemetry.io/docs, SDK environment variables). Attribute names:
opentelemetry.io/docs/specs/semconv (http, gen-ai).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.installation import install_command
from fleet_contract.spec import Task

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
CONTEXT = (b"traceparent", b"tracestate")
"""W3C Trace Context: w3.org/TR/trace-context."""
PROVIDER = "modelfleet"
"""The value of gen_ai.provider.name."""
NO_INFERENCE = frozenset({
    "/v1/chat/completions/render", "/v1/messages/count_tokens", "/apply-template",
})  # fmt: skip
COMPLETIONS = frozenset({"/v1/completions", "/completions", "/completion", "/infill"})
OPERATIONS = {
    Task.CHAT: "chat", Task.EMBEDDING: "embeddings", Task.RERANK: "rerank",
    Task.SPEECH: "transcription",
}  # fmt: skip
"""Values of gen_ai.operation.name; the last two are not among those of the conventions, which allow
others."""

MOST_INTEGER = (1 << 63) - 1
"""OTLP has signed integers of 64 bits."""

CLOSE_SECONDS = 3.0
"""The exporter retries for 10 s, by which a collector that is away would delay each rollout."""

Headers = Iterable[tuple[bytes, bytes]]
Value = str | int | float | bool
Attributes = Mapping[str, Value]
Exemplar = dict[str, str]
"""`trace_id` and `span_id`, as labels of an exemplar."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """`close` sends the remaining spans; it blocks, for CLOSE_SECONDS if the collector is
    unreachable."""

    tracer: Tracer
    propagator: TraceContextTextMapPropagator
    close: Callable[[], None]

    def start(self, name: str, headers: Headers) -> Span:
        """A span of a received request, in the trace that its headers name."""
        from opentelemetry.trace import SpanKind

        received = {key.decode(): value.decode("latin-1") for key, value in headers
                    if key in CONTEXT}  # fmt: skip
        return self.tracer.start_span(name, self.propagator.extract(received), SpanKind.SERVER)

    def headers_in(self, span: Span, headers: Headers) -> list[tuple[bytes, bytes]]:
        """`headers` with the context of `span`."""
        from opentelemetry.trace import set_span_in_context

        injected: dict[str, str] = {}
        self.propagator.inject(injected, set_span_in_context(span))
        kept = [(name, value) for name, value in headers if name not in CONTEXT]
        return kept + [(name.encode(), value.encode()) for name, value in injected.items()]

    def child(self, parent: Span, name: str, start: int, end: int) -> Span:
        """A span inside of the process that has ended; times are Unix times in nanoseconds."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        span = self.tracer.start_span(
            name, set_span_in_context(parent), SpanKind.INTERNAL, start_time=start
        )
        span.end(end)
        return span


def load(environ: Mapping[str, str], service: str) -> Tracing | None:
    """Tracing, if a collector is set; `service` is the default of the service's name. Raises
    ValueError if the packages are missing."""
    if not any(environ.get(name) for name in TRACE_ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        raise ValueError(f"traces need more packages: {install_command('traces')}") from error
    name = environ.get("OTEL_SERVICE_NAME") or service
    resource = Resource.create({"service.name": name})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("modelfleet")

    def close() -> None:
        sending = threading.Thread(target=provider.shutdown, daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    return Tracing(tracer, TraceContextTextMapPropagator(), close)


def exemplar_of(span: Span) -> Exemplar | None:
    """The exemplar of measurements during a span; None for one that is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def operation(path: str) -> str:
    """gen_ai.operation.name of requests to a path, "" for one that is not inference."""
    if path in COMPLETIONS:
        return "text_completion"
    task = TASK_OF_PATH.get(path) if path not in NO_INFERENCE else None
    return OPERATIONS[task] if task is not None else ""


def describe(span: Span, status: int, attributes: Attributes) -> None:
    """Set attributes and the status of the response; a 5xx is an error."""
    from opentelemetry.trace import StatusCode

    known = {name: _sendable(value) for name, value in attributes.items()}
    span.set_attributes({"http.response.status_code": status, **known})
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _sendable(value: Value) -> Value:
    """The value, as text if it is a number that the exporter would log as an error: seeds are
    unsigned, -1 is the largest one."""
    if isinstance(value, int) and not -MOST_INTEGER <= value <= MOST_INTEGER:
        return str(value)
    return value
