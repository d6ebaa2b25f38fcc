"""Reads request bodies within limits of size, pace and memory, and decodes compressed ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from fleet_contract.errors import TooLarge
from fleet_web.client import has_sent_all
from fleet_web.request_body import memory
from fleet_web.request_body.content_encoding import ContentDecoder, decoder_of
from fleet_web.request_body.json_body import VALUE_BYTES, Data, count_values, load_object
from fleet_web.request_body.pace import Pace, PacedReceive

THREAD_BYTES = 256 * 1024
"""Longer bodies are parsed in a thread."""


def check_length(request: Request, limit: int) -> None:
    """Check `Content-Length` before anything is read. Raises TooLarge with both numbers."""
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(int(value), limit)


def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The chunks of the body, decoded. Both this call and the iterator raise errors.

    Raises TooLarge beyond `limit` bytes, encoded or decoded, RequestTimeout when it arrives more
    slowly than the app's `state.pace`, UnsupportedEncoding, BadRequest for an invalid encoding,
    ClientDisconnect when the client disconnects.
    """
    check_length(request, limit)
    decoder = decoder_of(request.scope["headers"])
    received = _received(request, limit)
    return received if decoder is None else _decoded(received, decoder, limit)


async def _received(request: Request, limit: int) -> AsyncIterator[bytes]:
    paced: PacedReceive | None = None
    seen, more = 0, True
    while more:
        if has_sent_all(request.scope):  # a timer would only cost time
            message: Message = await request.receive()
        else:
            if paced is None:
                pace = getattr(request.app.state, "pace", None) or Pace()
                paced = PacedReceive(request.receive, pace)
            message = await paced()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        seen += len(chunk)
        if seen > limit:
            raise _too_large(seen, limit)
        if chunk:
            yield chunk


async def _decoded(
    encoded: AsyncIterator[bytes], decoder: ContentDecoder, limit: int
) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in encoded:
        for decoded in decoder.steps(chunk):
            seen += len(decoded)
            if seen > limit:
                raise _too_large(seen, limit)
            yield decoded
            await asyncio.sleep(0)  # a few bytes may become thousands of steps
    decoder.finish()


def appended(data: Data, chunk: bytes) -> Data:
    """`data` and `chunk`; the first chunk as it is, further ones in place: joining them at the end
    would take twice the memory."""
    if not data:
        return chunk
    if isinstance(data, bytes):
        data = bytearray(data)
    data += chunk
    return data


async def read(request: Request, limit: int) -> Data:
    """The whole body, whose memory is reserved until the end of the request. Raises QueueFull if
    too little is left, and as `chunks`."""
    held = memory.reserve(request.app, request.scope)
    data: Data = b""
    async for chunk in chunks(request, limit):
        held.acquire(len(chunk))
        data = appended(data, chunk)
    return data


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object. Raises BadRequest if it is not one or exceeds the limits of
    `json_body`, and as `read`."""
    raw = await read(request, limit)
    if len(raw) <= THREAD_BYTES:
        values = count_values(raw)
    else:
        values = await asyncio.to_thread(count_values, raw)
    held = memory.reserve(request.app, request.scope)
    held.acquire(len(raw) + VALUE_BYTES * values)
    if len(raw) <= THREAD_BYTES:
        body = load_object(raw)
    else:
        body = await asyncio.to_thread(load_object, raw)
    # `raw` is dropped on return; the parsed body stays until the end of the request.
    held.free(len(raw))
    return body


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(f"The body has {size} bytes or more; at most {limit} are accepted.")
