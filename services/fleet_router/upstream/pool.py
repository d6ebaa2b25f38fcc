"""Connections to the model servers, kept open between requests and bounded in number."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from fleet_contract.errors import QueueFull
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import Connection, connect

CONNECT_TIMEOUT = 2.0
MAX_PER_ENDPOINT = 2048
MAX_IDLE = 256
IDLE_SECONDS = 30.0
"""Shorter than the 75 s after which our servers close an idle connection."""


class Pool:
    """The connections to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._idle: deque[Connection] = deque()
        self._retired = False
        self.in_flight = 0
        self.load = 0.0
        """Sum of the costs of what is in flight."""

    async def take(self, *, fresh: bool = False, cost: float = 1.0) -> tuple[Connection, bool]:
        """A connection and whether it was used before; give it back with `give`.

        Raises ConnectFailed, or QueueFull when the server has as many requests as it may have.
        """
        if self.in_flight >= MAX_PER_ENDPOINT:
            raise QueueFull(
                f"{self.in_flight} requests are in flight to this model's server.", retry_after=1
            )
        self.in_flight += 1
        self.load += cost
        try:
            oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
            while self._idle and not fresh:
                connection = self._idle.pop()
                if not connection.closed and connection.idle_since > oldest:
                    connection.begin()
                    return connection, True
                connection.close()
            connection = await connect(self._endpoint, CONNECT_TIMEOUT)
            connection.begin()
            return connection, False
        except BaseException:
            self._release(cost)
            raise

    def give(self, connection: Connection, cost: float = 1.0) -> None:
        """Take a connection back; it is kept only if its exchange came to a clean end."""
        self._release(cost)
        if connection.reusable and not self._retired:
            connection.rest()
            self._idle.append(connection)
            if len(self._idle) > MAX_IDLE:
                self._idle.popleft().close()
        else:
            connection.close()

    def _release(self, cost: float) -> None:
        self.in_flight -= 1
        # Exactly zero when idle, whatever rounding left behind.
        self.load = self.load - cost if self.in_flight else 0.0

    def retire(self) -> None:
        """Close what nobody uses now, and the rest as it comes back."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()


class PoolManager:
    """The pool of every server."""

    def __init__(self) -> None:
        self._pools: dict[Endpoint, Pool] = {}

    def of(self, endpoint: Endpoint) -> Pool:
        """The pool of a server, made when first asked for."""
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = Pool(endpoint)
        return pool

    def in_flight(self, endpoint: Endpoint) -> int:
        """Requests a server is working on for this router."""
        pool = self._pools.get(endpoint)
        return pool.in_flight if pool is not None else 0

    def load(self, endpoint: Endpoint) -> float:
        """What a server is working on for this router, by cost."""
        pool = self._pools.get(endpoint)
        return pool.load if pool is not None else 0.0

    def retain(self, endpoints: Collection[Endpoint]) -> None:
        """Forget servers that are in no route any more; running requests finish."""
        for endpoint in [known for known in self._pools if known not in endpoints]:
            self._pools.pop(endpoint).retire()

    def close(self) -> None:
        """Close every idle connection."""
        self.retain(())
