"""Reads request bodies with a limit in bytes and a timeout without progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from fleet_contract.errors import BadRequest, RequestTimeout, TooLarge
from fleet_web.client import has_sent_all

READ_TIMEOUT = 30.0


def check_length(request: Request, limit: int) -> None:
    """Check `Content-Length` before anything is read. Raises TooLarge with both numbers."""
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(int(value), limit)


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The chunks of the body.

    Raises TooLarge beyond `limit` bytes, RequestTimeout when nothing arrives for the app's
    `state.read_timeout` in seconds, ClientDisconnect when the client disconnects.
    """
    check_length(request, limit)
    seconds = getattr(request.app.state, "read_timeout", READ_TIMEOUT)
    seen, more = 0, True
    while more:
        if has_sent_all(request.scope):  # a timer would only cost time
            message = await request.receive()
        else:
            message = await _receive_within(seconds, request.receive)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        seen += len(chunk)
        if seen > limit:
            raise _too_large(seen, limit)
        if chunk:
            yield chunk


async def _receive_within(seconds: float, receive: Receive) -> Message:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise RequestTimeout(f"The body made no progress for {seconds:g} seconds.") from None


async def read(request: Request, limit: int) -> bytes:
    """The whole body. Raises as `chunks`."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object. Raises BadRequest if it is none, and as `chunks`."""
    return parse_json(await read(request, limit))


def parse_json(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises BadRequest if `raw` is none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        text = (
            f"is not valid JSON: {error}" if raw.strip() else "is empty; a JSON object is expected"
        )
        raise BadRequest(f"The body {text}.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return body


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(f"The body has {size} bytes or more; at most {limit} are accepted.")


__all__ = [
    "READ_TIMEOUT",
    "ClientDisconnect",
    "check_length",
    "chunks",
    "parse_json",
    "read",
    "read_json",
]
