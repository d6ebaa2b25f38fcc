"""Spans of a server's requests, as a real collector receives them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.otlp_collector import SERVER, Received
from support.waiting import until_async

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
NOT_SAMPLED = f"00-{TRACE}-00f067aa0ba902b7-00"
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


def named(spans: list[Received]) -> dict[str, Received]:
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_a_span_with_its_phases(traced: Any, stream: bool) -> None:
    with traced() as (live, spans):
        body = BODY | {"stream": stream, "temperature": 0, "seed": 7}
        answer = await live.ask("POST", CHAT, json=body, headers={"traceparent": PARENT})
        assert answer.status_code == 200
    found = named(spans)
    assert set(found) == {"chat scripted", "first_token", "queue", "prepare", "prompt", "decode"}
    whole = found["chat scripted"]
    assert (whole.trace, whole.parent, whole.kind) == (TRACE, PARENT.split("-")[2], SERVER)
    assert whole.service == "modelfleet-server"
    assert whole.attributes.pop("modelfleet.request_id")
    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "modelfleet",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.max_tokens": 512,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.choice.count": 1,
        "gen_ai.request.stream": stream,
        "gen_ai.request.seed": 7,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.output_tokens": 14,
    }
    first, decode = found["first_token"], found["decode"]
    assert {span.parent for span in (first, decode)} == {whole.span}
    parts = [found[name] for name in ("queue", "prepare", "prompt")]
    assert {span.parent for span in parts} == {first.span}
    for earlier, later in zip(parts, [*parts[1:], decode], strict=True):
        assert earlier.start <= earlier.end == later.start
    assert first.start == parts[0].start
    assert whole.start <= decode.end <= whole.end + 1_000_000


async def test_a_seed_beyond_the_numbers_of_otlp_is_a_text(
    traced: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with traced() as (live, spans):
        answer = await live.ask("POST", CHAT, json=BODY | {"seed": -1})
        assert answer.status_code == 200
    found = named(spans)["chat scripted"].attributes
    assert found["gen_ai.request.seed"] == str((1 << 64) - 1)
    assert not [each for each in caplog.records if each.name.startswith("opentelemetry")]


async def test_a_wait_is_in_the_span_of_the_queue(traced: Any, scripted: Any) -> None:
    gate = threading.Semaphore(0)
    with traced(scripted(text="ab", gate=gate, max_concurrent=1)) as (live, spans):
        first = asyncio.create_task(live.ask("POST", CHAT, json=BODY))
        await until_async(lambda: live.model.running)
        second = asyncio.create_task(live.ask("POST", CHAT, json=BODY))
        await until_async(lambda: live.gauge("modelfleet_queue_depth"))
        queued = time.monotonic_ns()
        await asyncio.sleep(0.05)
        least = time.monotonic_ns() - queued
        gate.release(8)
        assert {(await one).status_code for one in (first, second)} == {200}
    shorter, longer = sorted(span.end - span.start for span in spans if span.name == "queue")
    assert shorter < longer
    assert longer >= least


async def test_a_refused_request_has_a_span_without_phases(traced: Any) -> None:
    with traced() as (live, spans):
        answer = await live.ask("POST", CHAT, json=BODY | {"temperature": "hot"})
        assert answer.status_code == 400
    (span,) = spans
    assert span.attributes["http.response.status_code"] == 400
    assert not span.is_error


async def test_an_engine_that_fails_is_an_error(traced: Any, scripted: Any) -> None:
    with traced(scripted(fail_after=0)) as (live, spans):
        answer = await live.ask("POST", CHAT, json=BODY)
    found = named(spans)
    assert found["chat scripted"].is_error
    assert found["chat scripted"].attributes["error.type"] == str(answer.status_code)
    assert {"queue", "prepare", "prompt"} < set(found)
    assert "secret" not in repr(spans)


async def test_probes_and_token_counts_have_no_span(traced: Any) -> None:
    with traced() as (live, spans):
        await live.ask("GET", "/health")
        await live.ask("POST", "/tokenize", json={"content": "x"})
    assert spans == []


async def test_latencies_have_the_trace_as_exemplar(traced: Any) -> None:
    with traced() as (live, spans):
        headers = {"traceparent": PARENT}
        await live.ask("POST", CHAT, json=BODY, headers=headers)
        exposed = await live.ask("GET", "/metrics", headers=OPENMETRICS)
        plain = await live.ask("GET", "/metrics")
    assert exposed.headers["content-type"].startswith("application/openmetrics-text")
    exemplars = {
        sample.name: sample.exemplar.labels
        for family in text_string_to_metric_families(exposed.text)
        for sample in family.samples
        if sample.exemplar
    }
    whole = named(spans)["chat scripted"]
    labels = {"trace_id": TRACE, "span_id": whole.span}
    assert exemplars == dict.fromkeys(
        (
            "modelfleet_request_seconds_bucket",
            "modelfleet_time_to_first_token_seconds_bucket",
            "modelfleet_queue_seconds_bucket",
        ),
        labels,
    )
    assert plain.headers["content-type"].startswith("text/plain")
    assert TRACE not in plain.text


async def test_a_trace_that_is_not_sampled_is_no_exemplar(traced: Any) -> None:
    with traced() as (live, spans):
        await live.ask("POST", CHAT, json=BODY, headers={"traceparent": NOT_SAMPLED})
        exposed = await live.ask("GET", "/metrics", headers=OPENMETRICS)
    assert spans == []
    assert TRACE not in exposed.text


async def test_without_traces_metrics_are_text(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat()
        assert answer.status_code == 200
        exposed = await live.ask("GET", "/metrics", headers=OPENMETRICS)
    assert exposed.headers["content-type"].startswith("text/plain")
