"""Sends a request and reads its answer; whatever goes wrong becomes a Wrong with its reason."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from traffic.kind import Call, Truncated, Wrong
from traffic.plan import Plan

REQUEST_ID = "x-request-id"
ENDPOINT = "x-modelfleet-endpoint"
MOST_BYTES = 16 * 1024 * 1024
TOLD_CHARS = 300


def client(plan: Plan) -> httpx.AsyncClient:
    """A client that never repeats a request by itself."""
    kept = plan.at_once if plan.keep_alive else 0
    headers = {"authorization": f"Bearer {plan.api_key}"}
    if plan.host:
        headers["host"] = plan.host
    return httpx.AsyncClient(
        base_url=plan.root,
        headers=headers,
        limits=httpx.Limits(max_connections=plan.at_once, max_keepalive_connections=kept),
        timeout=plan.patience,
        trust_env=False,
    )


@asynccontextmanager
async def answer(
    http: httpx.AsyncClient, call: Call, path: str, **content: Any
) -> AsyncIterator[httpx.Response]:
    """The answer to this very request, with status 200, its body unread. Raises Wrong."""
    headers = {REQUEST_ID: call.request_id}
    try:
        async with http.stream("POST", path, headers=headers, **content) as response:
            call.endpoint = response.headers.get(ENDPOINT, "")
            if response.status_code != 200:
                raise Wrong(f"HTTP {response.status_code}: {await _told(response)}")
            if response.headers.get(REQUEST_ID, call.request_id) != call.request_id:
                raise Wrong("the answer is to another request")
            call.begun = True
            yield response
    except httpx.HTTPError as error:
        kind = Truncated if call.begun else Wrong
        raise kind(f"{type(error).__name__}: {error}") from None


async def whole(http: httpx.AsyncClient, call: Call, path: str, **content: Any) -> Any:
    """The JSON object of an answer. Raises Wrong."""
    async with answer(http, call, path, **content) as response:
        raw = bytearray()
        async for piece in response.aiter_bytes():
            raw += piece
            if len(raw) > MOST_BYTES:
                raise Wrong("the answer is too large")
    return _object(bytes(raw))


async def events(
    http: httpx.AsyncClient, call: Call, path: str, body: dict[str, Any]
) -> AsyncIterator[Any]:
    """The objects of an event stream up to its end mark. Raises Wrong where the mark is missing,
    something follows it, or an event tells of an error."""
    ended, size = False, 0
    async with answer(http, call, path, json=body) as response:
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise Wrong(f"a stream was asked for, and {kind!r} came")
        async for line in response.aiter_lines():
            size += len(line)
            if size > MOST_BYTES:
                raise Wrong("the stream is too large")
            if not line or line.startswith(":"):
                continue
            if ended:
                raise Wrong("something came after the end of the stream")
            if line == "data: [DONE]":
                ended = True
                continue
            event = _object(line.removeprefix("data:").encode())
            if "error" in event:
                raise Truncated(f"error in the stream: {json.dumps(event['error'])[:TOLD_CHARS]}")
            yield event
    if not ended:
        raise Truncated("the stream ended without [DONE]")


def _object(raw: bytes) -> Any:
    try:
        body = json.loads(raw)
    except ValueError:
        raise Wrong(f"no JSON: {raw[:80]!r}") from None
    if not isinstance(body, dict):
        raise Wrong("no JSON object")
    return body


async def _told(response: httpx.Response) -> str:
    text = (await response.aread()).decode("utf-8", "replace")[: 10 * TOLD_CHARS]
    try:
        text = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = text or "no body"
    return str(text)[:TOLD_CHARS]
