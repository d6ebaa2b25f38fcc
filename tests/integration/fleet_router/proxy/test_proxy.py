"""Requests through a router process to stub servers: routing, bodies, headers and sizes."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import httpx
import pytest


def test_bodies_are_not_changed(fleet: Any, stub: Any) -> None:
    # Spaces, key order, an escaped slash and an unusual number: re-encoding would change them.
    raw = b'{ "messages" :[],\n"model":"acme\\/chat", "temperature": 1.0e+0, "extra":"\\u00e9"}'
    answer = httpx.post(
        f"{fleet.url}/v1/chat/completions?trace=a%20b&x=1",
        content=raw,
        headers={"x-id": "bytes", "content-type": "application/json"},
    )
    assert answer.status_code == 200
    assert answer.json()["sha256"] == hashlib.sha256(raw).hexdigest()
    assert stub.seen("bytes")["query"] == "trace=a%20b&x=1"
    assert stub.seen("bytes")["path"] == "v1/chat/completions"


@pytest.mark.parametrize("name", ["acme/chat", "chat", "gpt-4o"])
def test_an_alias_reaches_its_model(fleet: Any, name: str) -> None:
    answer = fleet.chat(name)
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == "acme/chat"
    assert answer.headers["x-modelfleet-endpoint"] == "chat-0"


def test_headers_of_model_and_server_cannot_be_forged(fleet: Any, stub: Any) -> None:
    answer = httpx.post(
        f"{fleet.url}/v1/chat/completions",
        json={"model": "chat", "messages": []},
        headers={
            "x-id": "headers",
            "x-modelfleet-endpoint": "mine",
            "x-modelfleet-cold": "true",
            "x-modelfleet-anything": "mine",
            "authorization": "Bearer secret",
            "cookie": "secret",
            "connection": "keep-alive, x-hop",
            "x-hop": "1",
            "x-own": "passes",
        },
    )
    got = {name for name, _ in stub.seen("headers")["headers"]}
    assert "x-own" in got
    assert not got & {"authorization", "cookie", "x-hop"}
    assert {name for name in got if name.startswith("x-modelfleet-")} == {
        "x-modelfleet-usage",
        "x-modelfleet-caller",
    }
    assert answer.headers["x-modelfleet-endpoint"] == "chat-0"
    assert answer.headers["x-modelfleet-queue-ms"] == "1.5"
    assert answer.headers["x-own"] == "kept"
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert len(answer.headers.get_list("date")) == 1


def test_request_ids_are_forwarded_and_returned(fleet: Any, stub: Any) -> None:
    identifier = uuid.uuid4().hex
    answer = httpx.post(
        f"{fleet.url}/v1/chat/completions",
        json={"model": "chat"},
        headers={"x-id": "request-id", "x-request-id": identifier},
    )
    assert answer.headers["x-request-id"] == identifier
    assert ["x-request-id", identifier] in stub.seen("request-id")["headers"]


def test_invalid_request_ids_are_replaced(fleet: Any) -> None:
    answer = httpx.post(
        f"{fleet.url}/v1/chat/completions",
        json={"model": "none"},
        headers={"x-request-id": "a b<script>"},
    )
    assert answer.status_code == 404
    assert answer.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("/v1/chat/completions", {"model": "acme/none"}, 404, "model_not_found", "model"),
        ("/v1/chat/completions", {"model": "acme/embed"}, 400, "wrong_task", "model"),
        ("/v1/embeddings", {"model": "acme/chat"}, 400, "wrong_task", "model"),
        ("/v1/chat/completions", {"messages": []}, 400, "missing", "model"),
        ("/v1/chat/completions", {"model": 5}, 400, "invalid_value", "model"),
        ("/v1/chat/completions", {"model": ""}, 400, "invalid_value", "model"),
        ("/v1/chat/completions", ["model"], 400, "invalid_json", None),
        ("/v1/rerank", {"query": "?"}, 400, "missing", "model"),
        ("/v1/no/such", {"model": "chat"}, 404, "not_found", None),
    ],
)
def test_errors_have_the_openai_shape(
    fleet: Any, path: str, body: Any, status: int, code: str, param: str | None
) -> None:
    answer = httpx.post(fleet.url + path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("raw", [b"", b"  ", b"{", b'{"model": "chat"', b"\xff\xfe", b"[" * 5000])
def test_invalid_json_is_a_400(fleet: Any, raw: bytes) -> None:
    answer = httpx.post(f"{fleet.url}/v1/chat/completions", content=raw)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


def test_the_only_model_of_a_task_is_the_default(fleet: Any) -> None:
    answer = httpx.post(f"{fleet.url}/v1/embeddings", json={"input": "a"})
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == "acme/embed"


def test_another_method_is_a_405(fleet: Any) -> None:
    answer = httpx.get(f"{fleet.url}/v1/chat/completions")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("status", [400, 422, 429, 500, 502, 504])
def test_server_errors_are_forwarded(fleet: Any, status: int) -> None:
    answer = fleet.chat(plan={"status": status})
    assert answer.status_code == status
    assert answer.json()["model"] == "acme/chat"
