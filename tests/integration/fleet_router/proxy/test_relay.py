"""Streams through the router: no buffering, errors of broken streams, client disconnects."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import psutil
import pytest

EVENT = 'data: {"n": 1}\n\n'


def read_broken(fleet: Any, model: str, headers: dict[str, str]) -> bytes:
    """Read a stream that must not end like a complete one."""
    got = bytearray()
    url = f"{fleet.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": model}, headers=headers) as answer:
        stream = answer.iter_raw()
        with pytest.raises(httpx.RemoteProtocolError):
            deque(map(got.extend, stream), 0)
    return bytes(got)


def test_streams_are_not_buffered(fleet: Any, stub: Any, headers: Any) -> None:
    """The client reads each piece before the server sends the next one."""
    pieces = [EVENT, EVENT, "data: [DONE]\n\n"]
    identifier = uuid.uuid4().hex
    with httpx.stream(
        "POST", f"{fleet.url}/v1/chat/completions", json={"model": "chat"}, timeout=30,
        headers=headers({"pieces": pieces, "step": True}, identifier),
    ) as answer:  # fmt: skip
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = answer.iter_raw()
        for piece in pieces:
            stub.step(identifier)
            assert next(stream) == piece.encode()
        assert next(stream, b"") == b""


def test_streams_are_not_changed(fleet: Any, headers: Any) -> None:
    pieces = [": comment\n\n", "data: é\r\n\r\n", "data: [DONE]\n\n"]
    answer = fleet.chat(plan={"pieces": pieces})
    assert answer.content == "".join(pieces).encode()


def test_a_large_response_to_a_slow_reader_is_complete(fleet: Any, headers: Any) -> None:
    router = psutil.Process(fleet.process.pid)
    size = 100_000_000
    before = router.memory_info().rss
    seen = 0
    peak = 0
    with httpx.stream(
        "POST", f"{fleet.url}/v1/chat/completions", json={"model": "chat"},
        headers=headers({"large": size}),
    ) as answer:  # fmt: skip
        for number, piece in enumerate(answer.iter_raw(1_000_000)):
            seen += len(piece)
            if number % 10 == 0:
                time.sleep(0.01)
                peak = max(peak, router.memory_info().rss)
    assert seen == size
    assert peak - before < 30_000_000


def test_a_disconnect_during_a_stream_stops_the_server(fleet: Any, stub: Any, headers: Any) -> None:
    identifier = uuid.uuid4().hex
    plan = {"pieces": [EVENT] * 1000, "gap": 0.05}
    with httpx.stream(
        "POST", f"{fleet.url}/v1/chat/completions", json={"model": "chat"},
        headers=headers(plan, identifier),
    ) as answer:  # fmt: skip
        next(answer.iter_raw())
    stub.await_state(identifier, "cancelled")
    fleet.await_metric("modelfleet_router_in_flight", 0, model="acme/chat")


def test_a_disconnect_before_the_response_stops_the_server(
    fleet: Any, stub: Any, headers: Any
) -> None:
    identifier = uuid.uuid4().hex
    sent = {"json": {"model": "chat"}, "headers": headers({"delay": 600}, identifier)}
    with fleet.sending("/v1/chat/completions", **sent):
        stub.await_body(identifier)
    stub.await_state(identifier, "cancelled")


@pytest.mark.parametrize("kind", ["json", "upload"])
def test_a_disconnect_after_a_large_body_stops_the_server(
    fleet: Any, stub: Any, headers: Any, kind: str
) -> None:
    # The router pauses reading while it buffers much of a body, and must resume to notice.
    identifier = uuid.uuid4().hex
    text = "x" * 3_000_000
    path, sent = "/v1/chat/completions", {"json": {"model": "chat", "user": text}}
    if kind == "upload":
        path = "/v1/audio/transcriptions"
        sent = {"files": {"file": text.encode()}, "data": {"model": "acme/speech"}}
    with fleet.sending(path, **sent, headers=headers({"delay": 600}, identifier)):
        stub.await_body(identifier)
    stub.await_state(identifier, "cancelled")


def test_a_disconnect_during_an_upload_stops_the_server(fleet: Any, stub: Any) -> None:
    identifier = uuid.uuid4().hex
    raw = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\nx-id: {identifier}\r\n"
        "content-type: multipart/form-data; boundary=b\r\ncontent-length: 1000000\r\n\r\n"
        '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nacme/speech\r\n--b\r\n'
    )
    with socket.create_connection(("127.0.0.1", fleet.port), 60) as sock:
        sock.sendall(raw.encode())
        stub.await_state(identifier, "running")
    stub.await_state(identifier, "left")


def test_a_truncated_response_has_an_error_event_and_no_end(fleet: Any, headers: Any) -> None:
    got = read_broken(fleet, "chat", headers({"pieces": [EVENT, "data: {"], "cut": True}))
    event = got.decode().split("\n\n")[-2]
    assert json.loads(event.removeprefix("data: "))["error"]["code"] == "upstream_failed"


def test_the_official_client_raises_on_a_truncated_stream(fleet: Any, headers: Any) -> None:
    client = openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0)
    plan = {"pieces": ['data: {"choices": []}\n\n'] * 3, "cut": True}
    stream = client.chat.completions.create(
        model="chat", messages=[], stream=True, extra_headers=headers(plan)
    )
    with pytest.raises(openai.APIError, match="closed the connection"):
        list(stream)


def test_a_server_that_dies_during_a_stream_is_reported(
    fleet: Any, start_stub: Any, start_router: Any, entry: Any, headers: Any, tmp_path: Any
) -> None:
    plan = {"pieces": [EVENT] * 5, "gap": 0.05, "exit": 3}
    with (
        start_stub("acme/dying") as dying,
        start_router(tmp_path, [entry("acme/dying", "chat", dying.port)]) as one,
    ):
        got = read_broken(one, "acme/dying", headers(plan))
    assert got.startswith(EVENT.encode() * 3)
    assert b"closed the connection" in got


def test_a_silent_server_times_out(
    start_router: Any, entry: Any, raw_port: int, tmp_path: Any
) -> None:
    models = [entry("acme/raw", "chat", raw_port, limits={"requestTimeout": 0.5})]
    with start_router(tmp_path, models) as one:
        answer = httpx.post(
            f"{one.url}/v1/chat/completions", json={"model": "acme/raw"},
            headers={"x-raw": json.dumps([5.0])},
        )  # fmt: skip
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
        begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        got = read_broken(one, "acme/raw", {"x-raw": json.dumps([begun, EVENT, 5.0])})
    assert b'"code":"timeout"' in got


def test_many_disconnects_leave_nothing_in_flight(fleet: Any, stub: Any, headers: Any) -> None:
    identifiers = [uuid.uuid4().hex for _ in range(60)]

    def disconnect(identifier: str) -> None:
        plan = {"pieces": [EVENT] * 400, "gap": 0.02}
        with httpx.stream(
            "POST", f"{fleet.url}/v1/chat/completions", json={"model": "chat"},
            headers=headers(plan, identifier),
        ) as answer:  # fmt: skip
            next(answer.iter_raw())

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(disconnect, identifiers))
    for identifier in identifiers:
        stub.await_state(identifier, "cancelled")
    fleet.await_metric("modelfleet_router_in_flight", 0, model="acme/chat")
    assert fleet.chat().status_code == 200
