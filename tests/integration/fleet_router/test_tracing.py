"""Spans are exported to a collector, and the trace context is sent to the model server."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextmanager
def collector(spans: list[Any]) -> Iterator[str]:
    """An OTLP collector over HTTP that adds every received span to `spans`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            batch = ExportTraceServiceRequest.FromString(raw)
            for resource in batch.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_is_a_span_of_the_clients_trace(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    spans: list[Any] = []
    models = [entry("acme/chat", "chat", stub.port)]
    with collector(spans) as address:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        with start_router(tmp_path, models, environ) as fleet:
            for model in ("acme/chat", "none"):
                httpx.post(
                    f"{fleet.url}/v1/chat/completions", json={"model": model},
                    headers={"traceparent": PARENT, "x-id": "traced"},
                )  # fmt: skip
        # The router has exited and exported all spans.
    answered, refused = sorted(spans, key=lambda span: span.start_time_unix_nano)
    assert answered.trace_id.hex() == PARENT.split("-")[1]
    assert answered.parent_span_id.hex() == PARENT.split("-")[2]
    assert answered.name == "POST /v1/chat/completions"
    attributes = {each.key: each.value for each in answered.attributes}
    assert attributes["gen_ai.request.model"].string_value == "acme/chat"
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["modelfleet.endpoint"].string_value == "chat-0"
    passed = dict(stub.seen("traced")["headers"])["traceparent"].split("-")
    assert passed[1:3] == [answered.trace_id.hex(), answered.span_id.hex()]
    of_refused = {each.key: each.value for each in refused.attributes}
    assert of_refused["http.response.status_code"].int_value == 404


def test_without_a_collector_the_context_is_not_changed(fleet: Any, stub: Any) -> None:
    httpx.post(
        f"{fleet.url}/v1/chat/completions", json={"model": "chat"},
        headers={"traceparent": PARENT, "tracestate": "a=b", "x-id": "untraced"},
    )  # fmt: skip
    passed = dict(stub.seen("untraced")["headers"])
    assert (passed["traceparent"], passed["tracestate"]) == (PARENT, "a=b")
