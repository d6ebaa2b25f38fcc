"""Spans are exported to a collector, and the trace context is sent to the model server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fleet_web import tracing
from support.otlp_collector import Received, collector
from support.scripted_chat import serve
from support.web import listen

__all__ = ["listen", "serve"]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
OPENMETRICS = {"accept": "application/openmetrics-text"}


def test_a_trace_goes_from_the_client_through_router_and_server(
    start_router: Any, entry: Any, serve: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[Received] = []
    with collector(spans) as address:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        of_server = tracing.load(environ, "modelfleet-server")
        with serve(tracing=of_server) as live:
            models = [entry("scripted", "chat", live.port)]
            with start_router(tmp_path, models, environ) as fleet:
                for model in ("scripted", "none"):
                    httpx.post(
                        f"{fleet.url}/v1/chat/completions", json=BODY | {"model": model},
                        headers={"traceparent": PARENT},
                    )  # fmt: skip
                exposed = httpx.get(f"{fleet.url}/metrics", headers=OPENMETRICS)
            # The router has exited and exported all spans.
        assert of_server is not None
        of_server.close()
    assert {span.trace for span in spans} == {TRACE}
    routed, refused = sorted(
        (span for span in spans if span.service == "modelfleet-router"),
        key=lambda span: span.start,
    )
    assert routed.parent == refused.parent == PARENT.split("-")[2]
    assert routed.name == "POST /v1/chat/completions"
    known = {name: routed.attributes[name] for name in routed.attributes if "gen_ai" in name}
    assert known == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "modelfleet",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 14,
    }
    assert routed.attributes["http.response.status_code"] == 200
    assert routed.attributes["modelfleet.endpoint"] == "scripted-0"
    assert refused.attributes["http.response.status_code"] == 404
    (served,) = [span for span in spans if span.parent == routed.span]
    assert (served.service, served.name) == ("modelfleet-server", "chat scripted")
    assert {span.name for span in spans if span.parent == served.span} == {"first_token", "decode"}
    # The histograms of the router have the trace as exemplar, beside the merged ones of the server.
    families = {one.name: one for one in text_string_to_metric_families(exposed.text)}
    first_byte = families["modelfleet_router_first_byte_seconds"].samples
    assert [one.exemplar.labels for one in first_byte if one.exemplar] == [
        {"trace_id": TRACE, "span_id": routed.span}
    ]
    assert "modelfleet_time_to_first_token_seconds" in families


def test_without_a_collector_the_context_is_not_changed(fleet: Any, stub: Any) -> None:
    httpx.post(
        f"{fleet.url}/v1/chat/completions", json={"model": "chat"},
        headers={"traceparent": PARENT, "tracestate": "a=b", "x-id": "untraced"},
    )  # fmt: skip
    passed = dict(stub.seen("untraced")["headers"])
    assert (passed["traceparent"], passed["tracestate"]) == (PARENT, "a=b")
