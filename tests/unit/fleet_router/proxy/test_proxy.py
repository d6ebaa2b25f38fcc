"""Requests through a router in this process: what reaches servers, and what is released."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.waiting import until_async

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FORM = {"content-type": "multipart/form-data; boundary=b"}
SPEECH = "/v1/audio/transcriptions"


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = [
        b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value)
        for name, value in fields
    ]
    return b"".join(parts) + b"--b--\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    listed = [
        {"name": "all", "sha256": hashlib.sha256(b"all").hexdigest()},
        {"name": "other", "sha256": hashlib.sha256(b"other").hexdigest(), "models": ["acme/x"]},
        {"name": "one", "sha256": hashlib.sha256(b"one").hexdigest(),
         "limits": {"requestsPerMinute": 1}},
    ]  # fmt: skip
    path.write_text(yaml.safe_dump({"keys": listed}))
    return path


@pytest.mark.parametrize("model", ["acme/chat", "acme/far"])
async def test_keys_of_clients_reach_no_server(
    start: Any, upstream: Any, keys: Path, model: str
) -> None:
    body = json.dumps({"model": model, "messages": []})
    async with start(keys=keys) as router:
        for headers in ({"x-api-key": "all"}, {"authorization": "Bearer all"}):
            sent = await router.client.post("/v1/chat/completions", content=body, headers=headers)
            assert sent.status_code == 200
    for request in upstream.seen:
        assert "x-api-key" not in request.headers
        expected = "Bearer fleet-key" if model == "acme/far" else None
        assert request.headers.get("authorization") == expected


@pytest.mark.parametrize("path", ["/v1/chat/completions", SPEECH])
@pytest.mark.parametrize(
    ("key", "model", "status"),
    [
        ("all", "acme/none", 404),
        ("other", None, 403),
        ("one", None, 429),
        ("all", "\x00", 400),
        ("all", None, 200),
    ],
)
async def test_memory_and_disk_are_released_however_a_request_ends(
    start: Any, keys: Path, path: str, key: str, model: str | None, status: int
) -> None:
    multipart = path == SPEECH
    model = model or ("acme/speech" if multipart else "acme/chat")
    if multipart:
        # Longer than what is kept in memory, and before the model.
        raw = form(("file", b"x" * 3_000_000), ("model", model.encode()))
    else:
        raw = json.dumps({"model": model, "messages": [], "x": "y" * 300_000}).encode()
    if model == "\x00":
        raw = raw[:-9]  # broken
    headers = {"authorization": f"Bearer {key}", **(FORM if multipart else {})}
    async with start(keys=keys) as router:
        for _ in range(2):
            sent = await router.client.post(path, content=raw, headers=headers)
            # The client may have the response before the request has ended here.
            await until_async(lambda: router.unreleased() == (0, 0))
        assert sent.status_code == status


async def test_a_second_model_does_not_reach_a_server(start: Any, upstream: Any) -> None:
    bodies = [b'{"model": "acme/far", "messages": [], "model": "gpt-9"}',
              b'{"model": "acme/far", "messages": [], "Model": "gpt-9"}']  # fmt: skip
    start_of_form = ("model", b"acme/speech"), ("file", b"x" * 500_000)
    forms = [form(*start_of_form, (name, b"gpt-9")) for name in ("model", "Model")]
    async with start() as router:
        for body in bodies:
            sent = await router.client.post("/v1/chat/completions", content=body)
            assert (sent.status_code, sent.json()["error"]["param"].lower()) == (400, "model")
        assert not upstream.seen
        for raw in forms:
            sent = await router.client.post(SPEECH, content=raw, headers=FORM)
            assert (sent.status_code, sent.json()["error"]["param"].lower()) == (400, "model")
        assert router.unreleased() == (0, 0)
    assert not any(request.complete or b"gpt-9" in request.body for request in upstream.seen)


async def test_the_model_is_replaced_by_the_name_that_a_remote_uses(
    start: Any, upstream: Any
) -> None:
    async with start() as router:
        assert (await router.chat("acme/far")).status_code == 200
    assert json.loads(upstream.seen[0].body)["model"] == "gpt"


async def test_a_compressed_body_is_sent_decoded(start: Any, upstream: Any) -> None:
    raw = json.dumps({"model": "acme/chat", "messages": []}).encode()
    encoded = {"content-encoding": "gzip"}
    upload = form(("file", b"x" * 100_000), ("model", b"acme/speech"), ("n", b"1"))
    async with start() as router:
        await router.client.post(
            "/v1/chat/completions", content=gzip.compress(raw), headers=encoded
        )
        sent = await router.client.post(SPEECH, content=gzip.compress(upload),
                                        headers=FORM | encoded)  # fmt: skip
        assert sent.status_code == 200
    assert [request.body for request in upstream.seen] == [raw, upload]
    assert not any("content-encoding" in request.headers for request in upstream.seen)


async def test_the_last_usage_of_a_stream_counts(start: Any, upstream: Any) -> None:
    events = b"".join(
        b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": %d}}\n\n' % number
        for number in (1, 4, 7)
    )
    upstream.script.append(EVENTS + chunk(events) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    async with start() as router:
        await router.chat(stream=True)
        assert await router.metric("modelfleet_router_tokens_total", kind="completion") == 7


async def test_the_usage_of_a_response_that_is_cut_off_counts(start: Any, upstream: Any) -> None:
    event = b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\n'

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(EVENTS + chunk(event))
        await writer.drain()
        writer.close()

    upstream.script.append(cut)
    async with start() as router:
        with pytest.raises(httpx.RemoteProtocolError):
            await router.chat(stream=True)
        assert await router.metric("modelfleet_router_tokens_total", kind="completion") == 5
        assert await router.metric("modelfleet_router_requests_total", code="502") == 1


async def test_the_503_of_a_remote_is_its_response(start: Any, upstream: Any) -> None:
    body = b'{"error": {"message": "overloaded", "code": "busy"}}'
    upstream.script.append(
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with start() as router:
        sent = await router.chat("acme/far")
    assert (sent.status_code, sent.headers["retry-after"], sent.content) == (503, "7", body)
    assert len(upstream.seen) == 1


async def test_an_upload_that_was_started_is_not_retried(start: Any, upstream: Any) -> None:
    """The connection is a reused one, over which a whole body would be sent again."""
    raw = form(("model", b"acme/speech"), ("file", b"x" * 1_000_000))
    async with start() as router:
        sent = await router.client.post(SPEECH, content=raw, headers=FORM)
        assert sent.status_code == 200
        upstream.abort_after = 100_000
        sent = await router.client.post(SPEECH, content=raw, headers=FORM)
    assert (sent.status_code, sent.json()["error"]["code"]) == (502, "upstream_failed")
    assert len(upstream.seen) == 2


async def test_an_upload_that_was_started_is_not_sent_again_after_a_503(
    start: Any, upstream: Any
) -> None:
    """What was read from the client is gone: the response of the first server is passed on."""
    body = b'{"error": {"message": "draining", "code": "busy"}}'
    upstream.script.append(
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    raw = form(("model", b"acme/pair"), ("file", b"x" * 1_000_000))
    async with start() as router:
        sent = await router.client.post(SPEECH, content=raw, headers=FORM)
    assert (sent.status_code, sent.content) == (503, body)
    assert [request.body for request in upstream.seen] == [raw]


async def test_a_routing_loop_is_a_508(start: Any, upstream: Any) -> None:
    body = json.dumps({"model": "acme/far", "messages": []})
    async with start() as router:
        for hops, expected in ((None, "1"), ("3", "4")):
            headers = {"x-modelfleet-hops": hops} if hops else {}
            sent = await router.client.post("/v1/chat/completions", content=body, headers=headers)
            assert sent.status_code == 200
            assert upstream.seen[-1].headers["x-modelfleet-hops"] == expected
        for hops in ("4", "99999", "-1", "x"):
            sent = await router.client.post(
                "/v1/chat/completions", content=body, headers={"x-modelfleet-hops": hops}
            )
            assert (sent.status_code, sent.json()["error"]["code"]) == (508, "loop_detected")
        assert len(upstream.seen) == 2
        await router.chat()
        assert "x-modelfleet-hops" not in upstream.seen[-1].headers


async def test_a_stream_stays_open_while_its_server_sends_no_head(
    start: Any, upstream: Any
) -> None:
    go_on = asyncio.Event()

    async def later(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(EVENTS + chunk(b"data: hi\n\n") + b"0\r\n\r\n")

    async def refused(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        body = b'{"error": {"message": "no", "code": "bad"}}'
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%b" % (len(body), body))  # fmt: skip

    body = {"model": "acme/chat", "messages": [], "stream": True}
    async with start(heartbeat=0.05) as router:
        for script, expected in ((later, "data: hi\n\n"), (refused, '"code":"bad"}}\n\n')):
            go_on.clear()
            upstream.script.append(script)
            text = ""
            async with router.client.stream("POST", "/v1/chat/completions", json=body) as sent:
                assert sent.headers["content-type"].startswith("text/event-stream")
                async for piece in sent.aiter_text():
                    text += piece
                    if text.count(": waiting") == 2:
                        go_on.set()
            assert text.startswith(": waiting for the first token\n\n")
            assert text.endswith(expected)


async def test_an_error_after_a_heartbeat_is_counted_as_an_error(start: Any, upstream: Any) -> None:
    async def fails(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}")

    upstream.script.append(fails)
    body = {"model": "acme/chat", "messages": [], "stream": True}
    async with start(heartbeat=0.05) as router:
        sent = await router.client.post("/v1/chat/completions", json=body)
        assert sent.status_code == 200
        text = (await router.client.get("/metrics")).text
    assert 'modelfleet_router_requests_total{code="500"' in text


async def test_a_response_that_is_not_streamed_keeps_its_status(start: Any, upstream: Any) -> None:
    async def later(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")

    upstream.script.append(later)
    async with start(heartbeat=0.05) as router:
        assert (await router.chat()).status_code == 400


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/metrics", "/v1/models", "/v1/models/acme/chat",
             "/openapi.json", "/v1/models/none"],
)  # fmt: skip
async def test_head_is_get_without_the_body(start: Any, path: str) -> None:
    async with start() as router:
        got, head = await router.client.get(path), await router.client.head(path)
        assert head.status_code == got.status_code
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.content == b""
        assert (await router.client.get("/livez")).status_code == 200  # on the same connection
        assert (await router.client.head("/v1/chat/completions")).status_code == 405


async def test_a_traffic_group_is_divided_by_session(start: Any, upstream: Any) -> None:
    async with start() as router:
        served = {}
        for session in map(str, range(20)):
            for _ in range(2):
                sent = await router.client.post(
                    "/v1/chat/completions", json={"model": "acme/grouped", "messages": []},
                    headers={"x-modelfleet-session": session},
                )  # fmt: skip
                member = json.loads(upstream.seen[-1].body)["model"]
                assert sent.headers["x-modelfleet-model"] == member
                assert served.setdefault(session, member) == member
        counted = await router.metric("modelfleet_router_requests_total", model="acme/canary")
    assert set(served.values()) == {"acme/grouped", "acme/canary"}
    assert counted == 2 * list(served.values()).count("acme/canary")


async def test_a_caller_without_a_session_stays_with_a_member(start: Any, upstream: Any) -> None:
    async with start() as router:
        for _ in range(8):
            await router.chat("acme/grouped")
    assert len({json.loads(request.body)["model"] for request in upstream.seen}) == 1


async def test_a_key_for_the_group_reaches_all_members(
    start: Any, upstream: Any, tmp_path: Path
) -> None:
    path = tmp_path / "group.yaml"
    key = {"name": "k", "sha256": hashlib.sha256(b"k").hexdigest(), "models": ["acme/grouped"]}
    path.write_text(yaml.safe_dump({"keys": [key]}))
    async with start(keys=path) as router:
        for session in map(str, range(20)):
            headers = {"authorization": "Bearer k", "x-modelfleet-session": session}
            body = {"model": "acme/grouped", "messages": []}
            sent = await router.client.post("/v1/chat/completions", json=body, headers=headers)
            assert sent.status_code == 200
        body = {"model": "acme/canary", "messages": []}
        sent = await router.client.post("/v1/chat/completions", json=body, headers=headers)
        assert sent.status_code == 403
    assert len({json.loads(request.body)["model"] for request in upstream.seen}) == 2


async def test_errors_on_anthropics_paths_have_anthropics_shape(start: Any, keys: Path) -> None:
    body = {"model": "nobody", "max_tokens": 1, "messages": []}
    async with start(keys=keys) as router:
        answers = [
            await router.client.post(path, json=body, headers=headers)
            for path in ("/v1/messages", "/v1/messages/count_tokens")
            for headers in ({}, {"x-api-key": "all"})
        ]
    for answer in answers:
        assert answer.json()["type"] == "error"
    kinds = [(answer.status_code, answer.json()["error"]["type"]) for answer in answers]
    assert kinds == [(401, "authentication_error"), (404, "not_found_error")] * 2


ABSENT = b"HTTP/1.1 404 Not Found\r\nx-modelfleet-absent: adapter\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_request_for_an_adapter_goes_to_a_server_that_has_it(
    start: Any, upstream: Any
) -> None:
    upstream.script.append(ABSENT)
    async with start() as router:
        sent = [await router.chat("tuned:sql") for _ in range(5)]
        listed = (await router.client.get("/v1/models")).json()["data"]
        one = (await router.client.get("/v1/models/tuned:sql")).json()
        refused = await router.metric("modelfleet_router_upstream_errors_total", kind="no_adapter")
    assert {each.status_code for each in sent} == {200}
    assert {each.headers["x-modelfleet-model"] for each in sent} == {"acme/tuned"}
    assert len({each.headers["x-modelfleet-endpoint"] for each in sent}) == 1
    assert {json.loads(each.body)["model"] for each in upstream.seen if each.body} == {
        "acme/tuned:sql"
    }
    assert refused == 1
    children = [each for each in listed if each["parent"]]
    assert [(each["id"], each["parent"]) for each in children] == [("acme/tuned:sql", "acme/tuned")]
    assert one == children[0] | {"created": one["created"]}


async def test_the_fallback_of_a_model_serves_requests_for_its_adapters(
    start: Any, upstream: Any
) -> None:
    upstream.script.extend([ABSENT, ABSENT])
    async with start() as router:
        sent = await router.chat("acme/tuned:sql")
    assert (sent.status_code, sent.headers["x-modelfleet-fallback"]) == (200, "acme/tuned")
    assert json.loads(upstream.seen[-1].body)["model"] == "acme/chat"


async def test_the_404_of_a_model_without_an_adapter_is_its_response(
    start: Any, upstream: Any
) -> None:
    upstream.script.append(ABSENT)
    async with start() as router:
        assert (await router.chat("acme/tuned")).status_code == 404
