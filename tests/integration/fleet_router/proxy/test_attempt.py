"""Retries and error responses for failed attempts; a body is not sent twice by mistake."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from support.waiting import until

OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def raw(fleet: Any, *pieces: Any, keep: bool = False, client: Any = httpx) -> httpx.Response:
    headers = {"x-raw": json.dumps(pieces), "x-keep": "1" if keep else "0"}
    url = f"{fleet.url}/v1/chat/completions"
    return client.post(url, json={"model": "acme/raw"}, headers=headers)


def test_an_unreachable_server_is_a_503_with_retry_after(fleet: Any) -> None:
    answer = fleet.chat("acme/dead")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_not_ready"
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) >= 1


def test_unreachable_servers_are_retried_elsewhere(fleet: Any) -> None:
    answers = [fleet.chat("acme/half-dead") for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-modelfleet-endpoint"] for answer in answers} == {"half-dead-1"}


def test_uploads_are_retried_elsewhere(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    with start_router(tmp_path, [entry("acme/speech", "speech", 1, stub.port)]) as fleet:
        for _ in range(4):
            answer = httpx.post(
                f"{fleet.url}/v1/audio/transcriptions",
                files={"file": b"x" * 2_000_000},
                data={"model": "acme/speech"},
            )
            assert answer.status_code == 200
            assert answer.json()["length"] > 2_000_000


def test_a_server_lost_before_its_response_is_a_503(
    start_stub: Any, start_router: Any, entry: Any, tmp_path: Any
) -> None:
    with (
        start_stub("acme/dying") as dying,
        start_router(
            tmp_path, [entry("acme/dying", "chat", dying.port)], {"HOLD_SECONDS": "0.5"}
        ) as fleet,
    ):
        answer = fleet.chat("acme/dying", {"die": True})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers


def test_servers_lost_before_their_response_are_retried_elsewhere(
    start_stub: Any, start_router: Any, entry: Any, stub: Any, raw_port: int, tmp_path: Any
) -> None:
    models = [entry("acme/two", "chat", raw_port, stub.port)]
    with start_router(tmp_path, models) as fleet:
        names = set()
        for _ in range(12):  # the raw server closes every connection without a response
            answer = fleet.chat("acme/two")
            assert answer.status_code == 200
            names.add(answer.headers["x-modelfleet-endpoint"])
        assert names == {"two-1"}
        metrics = httpx.get(f"{fleet.url}/metrics").text
        assert 'modelfleet_router_ejections_total{model="acme/two"}' in metrics


def test_a_request_that_kills_servers_is_not_retried_on_all(
    start_stub: Any, start_router: Any, entry: Any, tmp_path: Any
) -> None:
    with ExitStack() as stack:
        stubs = [stack.enter_context(start_stub("acme/many")) for _ in range(5)]
        models = [entry("acme/many", "chat", *(stub.port for stub in stubs))]
        fleet = stack.enter_context(start_router(tmp_path, models))
        answer = fleet.chat("acme/many", {"die": True})
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_failed"
        # The process is reported as dead some time after its sockets are closed.
        until(lambda: dead(stubs) == 3)
        assert fleet.chat("acme/many").status_code == 200
        assert dead(stubs) == 3


def test_unready_servers_are_retried_elsewhere(
    start_router: Any, entry: Any, stub: Any, raw_port: int, tmp_path: Any
) -> None:
    busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"
    with start_router(tmp_path, [entry("acme/two", "chat", raw_port, stub.port)]) as fleet:
        for _ in range(6):
            answer = httpx.post(
                f"{fleet.url}/v1/chat/completions", json={"model": "acme/two"},
                headers={"x-raw": json.dumps([busy])},
            )  # fmt: skip
            assert answer.headers["x-modelfleet-endpoint"] == "two-1"


@pytest.mark.parametrize(
    "pieces",
    [
        ["not http at all\r\n\r\n"],
        ["HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"],
        ["HTTP/1.1 200 OK\r\nx: ", ["y", 70_000], "\r\n\r\n"],
        ["HTTP/1.1 200 OK\r\n"],
        [],
    ],
)
def test_invalid_http_is_a_502(fleet: Any, pieces: list[Any]) -> None:
    answer = raw(fleet, *pieces)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_failed"


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([OK], b"{}"),
        (["HTTP/1.1 100 Continue\r\n\r\n", OK], b"{}"),
        (["HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK], b"{}"),
        (["HTTP/1.0 200 OK\r\n\r\nuntil close"], b"until close"),
        (["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"], b"ab"),
        (["HTTP/1.1 204 No Content\r\n\r\n"], b""),
        (["HT", "TP/1.1 200 OK\r\nconte", "nt-length: 2\r\n\r\n", 0.05, "{", "}"], b"{}"),
    ],
)
def test_every_framing_of_http(fleet: Any, pieces: list[Any], body: bytes) -> None:
    answer = raw(fleet, *pieces)
    assert answer.status_code in (200, 204)
    assert answer.content == body


def test_a_stale_connection_is_retried_once(fleet: Any) -> None:
    # The server announces keep-alive and closes the connection at once.
    for _ in range(8):
        assert raw(fleet, OK).status_code == 200


def test_bytes_after_a_response_are_dropped(fleet: Any) -> None:
    poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    assert raw(fleet, OK + poison, keep=True).content == b"{}"
    assert raw(fleet, OK, keep=True).content == b"{}"


def dead(stubs: list[Any]) -> int:
    return sum(stub.process.poll() is not None for stub in stubs)
