"""Invalid requests and their error responses, through the router."""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
USER = [{"role": "user", "content": "hello"}]
PATH = "/v1/chat/completions"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA"
    "60e6kgAAAABJRU5ErkJggg=="
)


async def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = body["error"]
    return error


async def refused(
    http: httpx.AsyncClient, fields: dict[str, Any], status: int = 400, path: str = PATH
) -> dict[str, Any]:
    body = {"model": CHAT, "messages": USER, "max_tokens": 4} | fields
    return await error_of(await http.post(path, json=body), status)


async def test_an_unknown_model_is_a_404(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="gpt-9", messages=USER)  # type: ignore[arg-type]
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert CHAT in caught.value.message
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_the_wrong_task_names_the_right_endpoint(http: httpx.AsyncClient) -> None:
    error = await refused(http, {"model": EMBEDDING})
    assert error["code"] == "wrong_task"
    assert "/v1/embeddings" in error["message"]
    error = await refused(http, {"input": "a"}, path="/v1/embeddings")
    assert error["code"] == "wrong_task"
    assert PATH in error["message"]


async def test_an_unknown_path_and_a_wrong_method(http: httpx.AsyncClient) -> None:
    assert (await error_of(await http.post("/v1/dance", json={}), 404))["code"] == "not_found"
    await error_of(await http.get("/v1/nothing"), 404)
    await error_of(await http.get(PATH), 405)
    await error_of(await http.delete("/v1/models"), 405)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[1]", b"null", b'"text"', b"\xff\xfe\x00", b'{"model": 5}', b'{"model": null}',
     b"{'model': 'x'}", b'{"model": "' + b"a" * 100_000 + b'"}', b"[" * 100_000],
)  # fmt: skip
async def test_invalid_bodies_are_rejected(http: httpx.AsyncClient, raw: bytes) -> None:
    answer = await http.post(PATH, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 404)
    await error_of(answer, answer.status_code)
    assert len(answer.content) < 3000


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [5]}, "messages"),
    ({"messages": [{"content": "a"}]}, "messages"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, "messages"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "dance"}]}]}, "messages"),
    ({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": PIXEL}}]}]}, "messages"),
    ({"temperature": "5"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 5.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": 5}, "stream_options"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", 5]}, "stop"),
    ({"stop": [f"stop {n}" for n in range(33)]}, "stop"),
    ({"n": 17}, "n"),
    ({"n": "1"}, "n"),
    ({"top_k": 5}, "top_k"),
    ({"seed": "a"}, "seed"),
    ({"user": 5}, "user"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"logit_bias": {"5": 101}}, "logit_bias"),
    ({"response_format": {"type": "yaml"}}, "response_format"),
    ({"response_format": "json"}, "response_format"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param"), FIELDS, ids=[json.dumps(fields)[:60] for fields, _ in FIELDS]
)
async def test_invalid_fields_are_named(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    error = await refused(http, fields)
    assert (error["param"] or "").partition(".")[0].partition("[")[0] == param
    assert error["message"]


async def test_a_missing_field_is_named(http: httpx.AsyncClient) -> None:
    error = await error_of(await http.post(PATH, json={"model": CHAT}), 400)
    assert error["param"] == "messages"


async def test_the_only_model_of_a_task_needs_no_name(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"messages": USER, "max_tokens": 1})
    assert answer.status_code == 200
    assert answer.json()["model"] == CHAT


async def test_a_prompt_beyond_the_context_is_rejected_with_both_numbers(
    http: httpx.AsyncClient,
) -> None:
    long = [{"role": "user", "content": "word " * 9000}]
    error = await refused(http, {"messages": long})
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "8192" in error["message"]
    assert max(map(int, re.findall(r"\d+", error["message"]))) >= 8192, error


async def test_an_oversized_body_is_rejected_before_it_is_read(fleet: Any) -> None:
    parts = urlsplit(fleet.base_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    length = 64 * 1024 * 1024 + 1
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {length}\r\n\r\n{{".encode()
    )
    async with asyncio.timeout(180):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_invalid_http_is_rejected(fleet: Any) -> None:
    parts = urlsplit(fleet.base_url)
    for raw in (
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(raw)
        async with asyncio.timeout(180):
            assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_random_requests_are_never_a_500(http: httpx.AsyncClient) -> None:
    """Requests with random types and values in their fields never cause a server error."""
    dice = random.Random(7)
    values = [
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        "",
        "a",
        "\ud800",
        [],
        {},
        [None],
        [[]],
        {"a": 1},
        "💥",
    ]
    names = ["model", "messages", "temperature", "max_tokens", "stop", "stream", "n", "seed",
             "response_format", "stream_options", "tools", "input", "dimensions", "user",
             "encoding_format"]  # fmt: skip
    for number in range(300):
        path, model = (PATH, CHAT) if number % 2 else ("/v1/embeddings", EMBEDDING)
        body: dict[str, Any] = {"model": model, "messages": USER, "input": "a", "max_tokens": 1}
        body |= {dice.choice(names): dice.choice(values) for _ in range(dice.randint(1, 3))}
        content = json.dumps(body).encode()
        answer = await http.post(path, content=content)
        assert answer.status_code in (200, 400, 404), (body, answer.text)
        assert "Traceback" not in answer.text
