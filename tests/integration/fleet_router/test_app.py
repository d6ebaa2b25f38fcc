"""Requests that the router rejects: lengths, heads, slow clients."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest


def record(port: int, raw: bytes, *, until: bytes = b"") -> bytes:
    """Send `raw` and read until the router closes the connection or `until` was received."""
    with socket.create_connection(("127.0.0.1", port), 120) as sock:
        sock.sendall(raw)
        got = b""
        while until not in got or not until:
            piece = sock.recv(65536)
            if not piece:
                return got
            got += piece
        return got


def head(*lines: str, path: str = "/v1/chat/completions") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: localhost", *lines, "", ""]).encode()


@pytest.fixture(scope="module")
def hasty(
    start_router: Any, entry: Any, stub: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A router that waits for a moment only for the rest of a request."""
    models = [entry("acme/chat", "chat", stub.port), entry("acme/speech", "speech", stub.port)]
    with start_router(tmp_path_factory.mktemp("hasty"), models, {"READ_TIMEOUT": "0.3"}) as fleet:
        yield fleet


def test_an_oversized_body_is_rejected_before_it_is_read(fleet: Any) -> None:
    # Only the head is sent, so a response proves that the router did not wait for the body.
    got = record(fleet.port, head("content-length: 999999999999"), until=b"}}")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in got
    assert b"connection: close" in got.lower()


def test_a_body_without_length_is_rejected_at_the_limit(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    models = [entry("acme/only", "chat", stub.port, limits={"maxBodyBytes": 1000})]
    with start_router(tmp_path, models) as fleet:
        raw = head("transfer-encoding: chunked") + b"7d0\r\n" + b" " * 2000 + b"\r\n"
        got = record(fleet.port, raw, until=b"}}")
    assert got.startswith(b"HTTP/1.1 413 ")


def test_each_model_has_its_own_limit(fleet: Any) -> None:
    body = {"model": "acme/small", "messages": ["x" * 2000]}
    answer = httpx.post(f"{fleet.url}/v1/chat/completions", json=body)
    assert answer.status_code == 413
    assert "1000" in answer.json()["error"]["message"]
    assert fleet.chat("acme/small").status_code == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 5"],
        ["content-length: 5", "content-length: 6"],
        ["content-length: -1"],
        ["transfer-encoding: chunked, identity"],
        ["bad header: x", "content-length : 5"],
    ],
)
def test_an_ambiguous_length_is_rejected(fleet: Any, stub: Any, lines: list[str]) -> None:
    identifier = uuid.uuid4().hex
    raw = head(f"x-id: {identifier}", *lines) + b'{"model":"chat"}'
    got = record(fleet.port, raw, until=b"}}")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert stub.seen(identifier) == {}


def test_an_endless_head_is_rejected(fleet: Any) -> None:
    got = record(fleet.port, head()[:-2] + b"x-filler: " + b"x" * 200_000, until=b"}}")
    assert got.startswith(b"HTTP/1.1 431 ")


def test_pipelined_requests_are_processed_in_order(fleet: Any) -> None:
    one = b'{"model":"chat"}'
    two = b'{"model":"acme/none"}'
    raw = head(f"content-length: {len(one)}") + one + head(f"content-length: {len(two)}") + two
    got = record(fleet.port, raw, until=b"model_not_found")
    assert got.index(b"HTTP/1.1 200 ") < got.index(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/chat/completions HT",
        head("content-length: 50") + b'{"model":',
        head("transfer-encoding: chunked") + b"5\r\n{",
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999\r\n"
        b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
    ],
)
def test_a_stalled_client_gets_a_408(hasty: Any, sent: bytes) -> None:
    got = record(hasty.port, sent)  # until the router closes
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in got


def test_an_upload_stalled_after_its_model_gets_a_408(hasty: Any, stub: Any) -> None:
    lines = "content-length: 99999", "content-type: multipart/form-data; boundary=b", "x-id: stalls"
    raw = head(*lines, path="/v1/audio/transcriptions")
    raw += b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nacme/speech\r\n--b\r\n'
    got = record(hasty.port, raw)
    assert got.startswith(b"HTTP/1.1 408 ")
    stub.await_state("stalls", "left")


def test_running_streams_end_before_the_router_exits(
    start_router: Any, entry: Any, stub: Any, headers: Any, tmp_path: Any
) -> None:
    plan = {"pieces": ["data: 1\n\n"] * 10, "gap": 0.05}
    with start_router(tmp_path, [entry("acme/chat", "chat", stub.port)]) as fleet:
        with httpx.stream(
            "POST", f"{fleet.url}/v1/chat/completions", json={"model": "acme/chat"},
            headers=headers(plan),
        ) as answer:  # fmt: skip
            stream = answer.iter_raw()
            got = next(stream)
            fleet.process.terminate()
            for piece in stream:
                got += piece
        assert got == b"data: 1\n\n" * 10
        assert fleet.process.wait(60) == 0
