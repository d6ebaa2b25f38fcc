"""Tests of the checks in this folder: what they must reject."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

from integration.fuzz import raw_http

GOOD: dict[str, Any] = {
    "message": "No.", "type": "invalid_request_error", "param": None, "code": "invalid_value",
}  # fmt: skip


def response(status: int, body: Any, kind: str = "application/json") -> raw_http.Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return raw_http.Answer(status, {"content-type": kind}, raw)


def test_valid_responses_pass() -> None:
    raw_http.judge(response(200, {"a": 1.5}))
    raw_http.judge(response(200, b"data: [DONE]\n\n", "text/event-stream"))
    raw_http.judge(response(400, {"error": GOOD}))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        response(500, {"error": GOOD}),
        response(502, {"error": GOOD}),
        response(307, b""),
        response(400, {"detail": "No."}),
        response(400, {"error": GOOD | {"message": ""}}),
        response(400, {"error": GOOD | {"message": "x" * 20_000}}),
        response(400, {"error": GOOD | {"more": 1}}),
        response(400, {"error": GOOD | {"param": ["a"]}}),
        response(400, {"error": GOOD}, "text/html"),
        response(400, b"\xff"),
        response(200, {"a": float("nan")}),
        response(200, b'{"a": "\\ud800"}'),
        response(200, b"data: x", "text/event-stream"),
        response(200, b'data: {"error": {}}\n\n', "text/event-stream"),
    ],
    ids=str,
)
def test_invalid_responses_fail(bad: raw_http.Answer | None) -> None:
    with pytest.raises((AssertionError, ValueError)):
        raw_http.judge(bad)


def test_a_silent_server_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_http, "TIMEOUT_SECONDS", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TimeoutError),
    ):
        raw_http.exchange(silent.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")


def test_a_truncated_response_raises() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send_half() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")

        thread = threading.Thread(target=send_half)
        thread.start()
        with pytest.raises(raw_http.http.client.IncompleteRead):
            raw_http.exchange(server.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")
        thread.join()
