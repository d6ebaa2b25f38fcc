"""Sends one request and reads its answer; every failure becomes a short reason."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from fleet_bench.plan import Plan
from fleet_bench.sample import Failed

MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024


def client(plan: Plan) -> httpx.AsyncClient:
    """A client with a connection for each of the plan's clients."""
    limits = httpx.Limits(
        max_connections=plan.concurrency, max_keepalive_connections=plan.concurrency
    )
    timeout = httpx.Timeout(plan.timeout, connect=10)
    return httpx.AsyncClient(headers=plan.headers, limits=limits, timeout=timeout)


async def post_json(http: httpx.AsyncClient, url: str, **content: Any) -> dict[str, Any]:
    """The JSON object a request is answered with. Raises Failed."""
    async with _answer(http, url, **content) as response:
        raw = bytearray()
        async for piece in response.aiter_bytes():
            raw += piece
            if len(raw) > MAX_ANSWER_BYTES:
                raise Failed("answer too large")
    try:
        body = json.loads(raw)
    except ValueError:
        raise Failed("answer is no JSON") from None
    if not isinstance(body, dict):
        raise Failed("answer is no JSON object")
    return body


async def events(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The data of each server-sent event as it arrives, the end mark included. Raises Failed."""
    async with _answer(http, url, json=body) as response:
        rest = b""
        async for piece in response.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    yield line[5:].strip()
            if len(rest) > MAX_LINE_BYTES:
                raise Failed("event too large")


@asynccontextmanager
async def _answer(
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
    """The `code` of an OpenAI error, for the table; the message may hold what was asked."""
    try:
        error = json.loads(await response.aread())["error"]
        return f" {error.get('code') or error.get('type') or ''}".rstrip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
