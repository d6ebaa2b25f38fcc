"""Requests that wait for a server: limits, Retry-After, heartbeats and fallbacks.

Router processes with stub servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest


def wait_until_held(fleet: Any, number: int) -> None:
    fleet.await_metric("modelfleet_router_held", number, model="acme/cold")


@contextmanager
def requests(*calls: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    with ThreadPoolExecutor(len(calls)) as pool:
        yield [pool.submit(call) for call in calls]


def wake(fleet: Any, entry: Any, stub: Any, **spec: Any) -> None:
    models = [entry("acme/cold", spec.pop("task", "chat"), stub.port, **spec)]
    fleet.routes.write_text(json.dumps({"models": models}))


def test_a_waiting_request_is_served_when_a_server_starts(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    with start_router(tmp_path, [entry("acme/cold", "chat")], {"HOLD_SECONDS": "60"}) as fleet:
        with requests(lambda: fleet.chat("acme/cold")) as (waiting,):
            wait_until_held(fleet, 1)
            fleet.await_metric("modelfleet_router_in_flight", 1, model="acme/cold")
            wake(fleet, entry, stub)
            answer = waiting.result(180)
        assert answer.status_code == 200
        assert answer.headers["x-modelfleet-cold"] == "true"
        assert float(answer.headers["x-modelfleet-queue-ms"]) > 1.5  # the server's own value is 1.5
        warm = fleet.chat("acme/cold")
        assert warm.headers["x-modelfleet-cold"] == "false"
        assert warm.headers["x-modelfleet-queue-ms"] == "1.5"
        fleet.await_metric("modelfleet_router_held", 0, model="acme/cold")
        fleet.await_metric("modelfleet_router_held_seconds_count", 1, model="acme/cold")
        assert fleet.metric("modelfleet_router_last_request_timestamp_seconds") > 1.7e9


def test_requests_wait_for_a_restarting_server(
    start_stub: Any, start_router: Any, entry: Any, tmp_path: Any
) -> None:
    with (
        start_stub("acme/cold") as stub,
        start_router(
            tmp_path, [entry("acme/cold", "chat", stub.port)], {"HOLD_SECONDS": "60"}
        ) as fleet,
    ):
        assert fleet.chat("acme/cold").status_code == 200
        stub.process.kill()
        stub.process.wait(60)
        with requests(lambda: fleet.chat("acme/cold")) as (waiting,):
            wait_until_held(fleet, 1)
            with start_stub("acme/cold", port=stub.port):
                assert waiting.result(180).status_code == 200


def test_too_many_waiting_are_a_429_and_the_deadline_is_a_503(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    models = [entry("acme/cold", "chat", routing={"holdRequests": 2, "holdSeconds": 5})]
    with start_router(tmp_path, models) as fleet:
        call = lambda: fleet.chat("acme/cold")  # noqa: E731
        with requests(call, call) as waiting:
            wait_until_held(fleet, 2)
            refused = fleet.chat("acme/cold")
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert 1 <= int(refused.headers["retry-after"]) <= 10
            assert int(refused.headers["retry-after-ms"]) >= 1000
            for answer in (each.result(180) for each in waiting):
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "model_not_ready"
                assert "retry-after" in answer.headers
        fleet.await_metric("modelfleet_router_refused_total", 1, reason="full")
        fleet.await_metric("modelfleet_router_refused_total", 2, reason="deadline")
        fleet.await_metric("modelfleet_router_held", 0, model="acme/cold")


@pytest.mark.parametrize(
    ("fields", "why"), [({"stopped": True}, "stopped: true"), ({"replicas": 0}, "replicas: 0")]
)
def test_requests_do_not_wait_for_a_stopped_model(
    start_router: Any, entry: Any, tmp_path: Any, fields: dict[str, Any], why: str
) -> None:
    models = [entry("acme/cold", "chat", **fields)]
    with start_router(tmp_path, models, {"HOLD_SECONDS": "600"}) as fleet:
        answer = fleet.chat("acme/cold")
        assert answer.status_code == 503
        assert f"is stopped ({why})" in answer.json()["error"]["message"]
        assert fleet.metric("modelfleet_router_held_seconds_count", model="acme/cold") == 0


def test_waiting_requests_get_responses_before_the_router_exits(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    environ = {"HOLD_SECONDS": "600", "DRAIN_TIMEOUT": "3"}
    with (
        start_router(tmp_path, [entry("acme/cold", "chat")], environ) as fleet,
        requests(lambda: fleet.chat("acme/cold")) as (waiting,),
    ):
        wait_until_held(fleet, 1)
        fleet.process.terminate()
        answer = waiting.result(180)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert fleet.process.wait(60) == 0


def test_a_disconnect_frees_its_place(start_router: Any, entry: Any, tmp_path: Any) -> None:
    models = [entry("acme/cold", "chat", routing={"holdSeconds": 60})]
    with start_router(tmp_path, models) as fleet:
        with fleet.sending("/v1/chat/completions", json={"model": "acme/cold"}):
            wait_until_held(fleet, 1)
        wait_until_held(fleet, 0)
        fleet.await_metric("modelfleet_router_in_flight", 0, model="acme/cold")


def test_requests_for_a_deleted_model_stop_waiting(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    models = [entry("acme/cold", "chat", routing={"holdSeconds": 60})]
    with (
        start_router(tmp_path, models) as fleet,
        requests(lambda: fleet.chat("acme/cold")) as (waiting,),
    ):
        wait_until_held(fleet, 1)
        fleet.routes.write_text(json.dumps({"models": []}))
        assert waiting.result(180).status_code == 404


def test_a_waiting_stream_gets_heartbeats_and_then_its_response(
    start_router: Any, entry: Any, stub: Any, headers: Any, tmp_path: Any
) -> None:
    event = 'data: {"choices": []}\n\n'
    environ = {"HOLD_SECONDS": "60", "HEARTBEAT_SECONDS": "0.2"}
    with (
        start_router(tmp_path, [entry("acme/cold", "chat")], environ) as fleet,
        httpx.stream(
            "POST", f"{fleet.url}/v1/chat/completions",
            json={"model": "acme/cold", "stream": True},
            headers=headers({"pieces": [event, "data: [DONE]\n\n"]}), timeout=180,
        ) as answer,
    ):  # fmt: skip
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-modelfleet-cold"] == "true"
        pieces = answer.iter_raw()
        assert next(pieces).startswith(b": waiting for a server of this model\n\n")
        progress = {"phase": "ScaledToZero", "progress": "fetching weights 42 %, 18 s"}
        models = [{**entry("acme/cold", "chat"), **progress}]
        fleet.routes.write_text(json.dumps({"models": models}))
        while b": fetching weights 42 %, 18 s\n\n" not in next(pieces):
            pass
        wake(fleet, entry, stub)
        rest = b"".join(pieces).decode()
    lines = [line for line in rest.split("\n\n") if line and not line.startswith(":")]
    assert lines == ['data: {"choices": []}', "data: [DONE]"]


def test_progress_is_sent_more_often_than_heartbeats(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    environ = {"HOLD_SECONDS": "60", "HEARTBEAT_SECONDS": "3600"}
    models = [{**entry("acme/cold", "chat"), "phase": "Progressing", "progress": "loading, 3 s"}]
    with (
        start_router(tmp_path, models, environ) as fleet,
        httpx.stream(
            "POST", f"{fleet.url}/v1/chat/completions",
            json={"model": "acme/cold", "stream": True}, timeout=30,
        ) as answer,
    ):  # fmt: skip
        assert next(answer.iter_raw()) == b": loading, 3 s\n\n"


@pytest.mark.parametrize("status", [400, 500])
def test_an_error_after_heartbeats_is_an_event_that_clients_raise(
    start_router: Any, entry: Any, stub: Any, headers: Any, tmp_path: Any, status: int
) -> None:
    environ = {"HOLD_SECONDS": "60", "HEARTBEAT_SECONDS": "0.1"}
    with start_router(tmp_path, [entry("acme/cold", "chat")], environ) as fleet:
        client = openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0)
        stream = client.chat.completions.create(
            model="acme/cold", messages=[], stream=True, extra_headers=headers({"status": status})
        )
        wake(fleet, entry, stub)
        with pytest.raises(openai.APIError, match=str(status)):
            list(stream)


def test_the_deadline_after_heartbeats_is_an_event_too(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    environ = {"HOLD_SECONDS": "1", "HEARTBEAT_SECONDS": "0.2"}
    with start_router(tmp_path, [entry("acme/cold", "chat")], environ) as fleet:
        answer = fleet.chat("acme/cold", stream=True)
    events = [line for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert answer.status_code == 200
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "model_not_ready"
    assert len(events) == 1


def test_requests_without_streaming_get_no_heartbeats(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    environ = {"HOLD_SECONDS": "0.6", "HEARTBEAT_SECONDS": "0.1"}
    with start_router(tmp_path, [entry("acme/cold", "chat")], environ) as fleet:
        assert fleet.chat("acme/cold").status_code == 503


def test_a_fallback_responds_and_is_named(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    models = [
        entry("acme/cold", "chat", fallback="warm"),
        entry("acme/warm", "chat", stub.port, aliases=["warm"]),
    ]
    with start_router(tmp_path, models, {"HOLD_SECONDS": "60"}) as fleet:
        answer = fleet.chat("acme/cold")
        assert answer.status_code == 200
        assert answer.headers["x-modelfleet-model"] == "acme/warm"
        assert answer.headers["x-modelfleet-fallback"] == "acme/cold"
        assert answer.headers["x-modelfleet-cold"] == "false"
        assert answer.json()["asked"] == "acme/warm"
        assert "x-modelfleet-fallback" not in fleet.chat("acme/warm").headers
        fleet.await_metric("modelfleet_router_fallbacks_total", 1, fallback="acme/warm")


def test_a_fallback_responds_to_uploads(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    models = [
        entry("acme/cold", "speech", 1, fallback="acme/warm-speech"),
        entry("acme/warm-speech", "speech", stub.port),
    ]
    with start_router(tmp_path, models, {"HOLD_SECONDS": "60"}) as fleet:
        answer = httpx.post(
            f"{fleet.url}/v1/audio/transcriptions", data={"model": "acme/cold"},
            files={"file": b"x" * 3_000_000},
        )  # fmt: skip
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-fallback"] == "acme/cold"
    assert answer.json()["asked"] == "acme/warm-speech"
    assert answer.json()["length"] > 3_000_000


def test_unusable_fallbacks_are_ignored(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    models = [
        entry("acme/a", "chat", fallback="acme/e"),
        entry("acme/b", "chat", fallback="acme/a"),
        entry("acme/c", "chat", fallback="acme/c"),
        entry("acme/d", "chat", fallback="acme/none"),
        entry("acme/e", "embedding", stub.port),
    ]
    with start_router(tmp_path, models, {"HOLD_SECONDS": "0"}) as fleet:
        assert [fleet.chat(f"acme/{name}").status_code for name in "abcd"] == [503] * 4
