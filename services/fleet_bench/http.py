"""HTTP requests whose failures are short reasons that can be counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from fleet_bench.sample import Failed
from fleet_bench.settings import BenchSettings

MAX_RESPONSE_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024


def client(settings: BenchSettings) -> httpx.AsyncClient:
    """An HTTP client with a connection for each client of the load."""
    limits = httpx.Limits(
        max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency
    )
    timeout = httpx.Timeout(settings.timeout, connect=10)
    return httpx.AsyncClient(headers=settings.headers, limits=limits, timeout=timeout)


async def post_json(http: httpx.AsyncClient, url: str, **content: Any) -> dict[str, Any]:
    """The JSON object of the response. Raises Failed."""
    async with _response(http, url, **content) as response:
        raw = bytearray()
        async for piece in response.aiter_bytes():
            raw += piece
            if len(raw) > MAX_RESPONSE_BYTES:
                raise Failed("response too large")
    try:
        body = json.loads(raw)
    except ValueError:
        raise Failed("response is not JSON") from None
    if not isinstance(body, dict):
        raise Failed("response is not a JSON object")
    return body


async def events(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The data of each server-sent event as it arrives, `[DONE]` included. Raises Failed."""
    async with _response(http, url, json=body) as response:
        rest = b""
        async for piece in response.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    yield line[5:].strip()
            if len(rest) > MAX_LINE_BYTES:
                raise Failed("event too large")


@asynccontextmanager
async def _response(
    http: httpx.AsyncClient, url: str, **content: Any
) -> AsyncIterator[httpx.Response]:
    try:
        async with http.stream("POST", url, **content) as response:
            if response.status_code != 200:
                raise Failed(f"HTTP {response.status_code}{await _code(response)}")
            yield response
    except httpx.TimeoutException:
        raise Failed("timeout") from None
    except httpx.HTTPError as error:
        raise Failed(type(error).__name__) from None


async def _code(response: httpx.Response) -> str:
    """The `code` or `type` of an OpenAI error; the message may hold parts of the request."""
    try:
        error = json.loads(await response.aread())["error"]
        return f" {error.get('code') or error.get('type') or ''}".rstrip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
