"""GET requests of the router's own to model servers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from fleet_contract.errors import QueueFull
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import ConnectFailed, Connection, UpstreamLost, UpstreamSilent
from fleet_router.upstream.pool import PoolManager

OK = frozenset({200})


async def fetch(
    pools: PoolManager,
    endpoint: Endpoint,
    path: str,
    *,
    seconds: float,
    limit: int,
    statuses: Collection[int] = OK,
) -> bytes | None:
    """The body of a response with one of `statuses` and at most `limit` bytes within `seconds`;
    else None.

    Sent again over a new connection if a reused one turns out to be closed.
    """
    try:
        async with asyncio.timeout(seconds):
            for fresh in (False, True):
                pool = pools.of(endpoint)
                connection, reused = await pool.acquire(fresh=fresh)
                try:
                    return await _get(connection, endpoint, path, seconds, limit, statuses)
                except UpstreamLost:
                    if not reused:
                        return None
                finally:
                    pool.release(connection)
    except (TimeoutError, ConnectFailed, UpstreamSilent, QueueFull):
        return None
    return None


async def _get(
    connection: Connection,
    endpoint: Endpoint,
    path: str,
    seconds: float,
    limit: int,
    statuses: Collection[int],
) -> bytes | None:
    request = f"GET {endpoint.prefix}{path} HTTP/1.1\r\nhost: {endpoint.authority}\r\n\r\n"
    await connection.write(request.encode())
    connection.request_sent = True
    head = await connection.read_head(seconds)
    body = bytearray()
    while chunk := await connection.read(seconds):
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body) if head.status in statuses else None
