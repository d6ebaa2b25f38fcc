"""Small GETs to model servers: what `models` and `merged_metrics` ask them."""

from __future__ import annotations

import asyncio

from fleet_contract.errors import QueueFull
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import ConnectFailed, Connection, UpstreamLost, UpstreamSilent
from fleet_router.upstream.pool import PoolManager


async def fetch(
    pools: PoolManager, endpoint: Endpoint, path: str, *, within: float, limit: int
) -> bytes | None:
    """The body of a 200 answer of at most `limit` bytes that came within `within` seconds.

    None whatever else happened. A connection kept from before that turns out dead is tried again.
    """
    try:
        async with asyncio.timeout(within):
            for fresh in (False, True):
                pool = pools.of(endpoint)
                connection, reused = await pool.take(fresh=fresh)
                try:
                    return await _get(connection, endpoint, path, within, limit)
                except UpstreamLost:
                    if not reused:
                        return None
                finally:
                    pool.give(connection)
    except (TimeoutError, ConnectFailed, UpstreamSilent, QueueFull):
        return None
    return None


async def _get(
    connection: Connection, endpoint: Endpoint, path: str, within: float, limit: int
) -> bytes | None:
    head = f"GET {endpoint.prefix}{path} HTTP/1.1\r\nhost: {endpoint.authority}\r\n\r\n"
    await connection.write(head.encode())
    connection.request_sent = True
    answer = await connection.read_head(within)
    body = bytearray()
    while piece := await connection.read(within):
        body += piece
        if len(body) > limit:
            return None
    return bytes(body) if answer.status == 200 else None
