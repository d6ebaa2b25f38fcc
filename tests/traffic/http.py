"""Sends requests and reads responses; all errors are raised as BadResponse with the reason."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from traffic.kind import BadResponse, Call, Truncated
from traffic.plan import Plan

REQUEST_ID = "x-request-id"
ENDPOINT = "x-modelfleet-endpoint"
MAX_BYTES = 16 * 1024 * 1024
MAX_MESSAGE_CHARS = 300


def client(plan: Plan) -> httpx.AsyncClient:
    """A client without retries."""
    kept = plan.concurrency if plan.keep_alive else 0
    headers = {"authorization": f"Bearer {plan.api_key}"}
    if plan.host:
        headers["host"] = plan.host
    return httpx.AsyncClient(
        base_url=plan.root,
        headers=headers,
        limits=httpx.Limits(max_connections=plan.concurrency, max_keepalive_connections=kept),
        timeout=plan.timeout,
        trust_env=False,
    )


@asynccontextmanager
async def checked_response(
    http: httpx.AsyncClient, call: Call, path: str, **content: Any
) -> AsyncIterator[httpx.Response]:
    """Yield the response to this request, with status 200 and unread body. Raises BadResponse."""
    headers = {REQUEST_ID: call.request_id}
    try:
        async with http.stream("POST", path, headers=headers, **content) as response:
            call.endpoint = response.headers.get(ENDPOINT, "")
            if response.status_code != 200:
                raise BadResponse(f"HTTP {response.status_code}: {await _error_message(response)}")
            if response.headers.get(REQUEST_ID, call.request_id) != call.request_id:
                raise BadResponse("the response is to another request")
            call.accepted = True
            yield response
    except httpx.HTTPError as error:
        kind = Truncated if call.accepted else BadResponse
        raise kind(f"{type(error).__name__}: {error}") from None


async def json_body(http: httpx.AsyncClient, call: Call, path: str, **content: Any) -> Any:
    """Return the JSON object of a response. Raises BadResponse."""
    async with checked_response(http, call, path, **content) as response:
        raw = bytearray()
        async for chunk in response.aiter_bytes():
            raw += chunk
            if len(raw) > MAX_BYTES:
                raise BadResponse("the response is too large")
    return _object(bytes(raw))


async def events(
    http: httpx.AsyncClient, call: Call, path: str, body: dict[str, Any]
) -> AsyncIterator[Any]:
    """Yield the objects of an event stream up to its end mark.

    Raises BadResponse if the end mark is missing or not last, or an event reports an error.
    """
    ended, size = False, 0
    async with checked_response(http, call, path, json=body) as response:
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise BadResponse(f"expected an event stream, not {kind!r}")
        async for line in response.aiter_lines():
            size += len(line)
            if size > MAX_BYTES:
                raise BadResponse("the stream is too large")
            if not line or line.startswith(":"):
                continue
            if ended:
                raise BadResponse("data after the end of the stream")
            if line == "data: [DONE]":
                ended = True
                continue
            event = _object(line.removeprefix("data:").encode())
            if "error" in event:
                raise Truncated(
                    f"error in the stream: {json.dumps(event['error'])[:MAX_MESSAGE_CHARS]}"
                )
            yield event
    if not ended:
        raise Truncated("the stream ended without [DONE]")


def _object(raw: bytes) -> Any:
    try:
        body = json.loads(raw)
    except ValueError:
        raise BadResponse(f"not JSON: {raw[:80]!r}") from None
    if not isinstance(body, dict):
        raise BadResponse("not a JSON object")
    return body


async def _error_message(response: httpx.Response) -> str:
    text = (await response.aread()).decode("utf-8", "replace")[: 10 * MAX_MESSAGE_CHARS]
    try:
        text = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = text or "no body"
    return str(text)[:MAX_MESSAGE_CHARS]
