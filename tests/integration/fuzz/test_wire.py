"""The judge of this folder: what it must not let pass."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

from integration.fuzz import wire

GOOD: dict[str, Any] = {
    "message": "No.", "type": "invalid_request_error", "param": None, "code": "invalid_value",
}  # fmt: skip


def answer(status: int, body: Any, kind: str = "application/json") -> wire.Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.Answer(status, {"content-type": kind}, raw)


def test_good_answers_pass() -> None:
    wire.judge(answer(200, {"a": 1.5}))
    wire.judge(answer(200, b"data: [DONE]\n\n", "text/event-stream"))
    wire.judge(answer(400, {"error": GOOD}))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        answer(500, {"error": GOOD}),
        answer(502, {"error": GOOD}),
        answer(307, b""),
        answer(400, {"detail": "No."}),
        answer(400, {"error": GOOD | {"message": ""}}),
        answer(400, {"error": GOOD | {"message": "x" * 20_000}}),
        answer(400, {"error": GOOD | {"more": 1}}),
        answer(400, {"error": GOOD | {"param": ["a"]}}),
        answer(400, {"error": GOOD}, "text/html"),
        answer(400, b"\xff"),
        answer(200, {"a": float("nan")}),
        answer(200, b'{"a": "\\ud800"}'),
        answer(200, b"data: x", "text/event-stream"),
        answer(200, b'data: {"error": {}}\n\n', "text/event-stream"),
    ],
    ids=str,
)
def test_bad_answers_do_not(bad: wire.Answer | None) -> None:
    with pytest.raises((AssertionError, ValueError)):
        wire.judge(bad)


def test_a_server_that_says_nothing_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PATIENCE", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TimeoutError),
    ):
        wire.exchange(silent.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")


def test_half_an_answer_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def say() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")

        thread = threading.Thread(target=say)
        thread.start()
        with pytest.raises(wire.http.client.IncompleteRead):
            wire.exchange(server.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")
        thread.join()
