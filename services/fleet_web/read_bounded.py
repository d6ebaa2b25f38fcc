"""Reads the whole body of an aiohttp response within a bound."""

from __future__ import annotations

import aiohttp


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The complete body. (`response.content.read(n)` returns what has arrived so far.)

    Raises ValueError above `limit` bytes, aiohttp.ClientError if the body ends early.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            response.close()
            raise ValueError(f"the response has more than {limit} bytes")
    return bytes(body)
