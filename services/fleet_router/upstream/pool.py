"""Connection pools of the model servers, bounded in connections and in idle time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable

from fleet_contract.errors import QueueFull
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import Connection, connect

CONNECT_TIMEOUT = 2.0
MAX_PER_ENDPOINT = 2048
MAX_IDLE = 256
IDLE_SECONDS = 30.0
"""Shorter than the 75 s after which this project's servers close an idle connection."""

SPARE_POOLS = 64
"""Pools of removed servers that are left until there are more."""


class Pool:
    """The connections to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._idle: deque[Connection] = deque()
        self._retired = False
        self.in_flight = 0
        self.load = 0.0
        """Sum of the costs of the requests in flight."""

    async def acquire(self, *, fresh: bool = False, cost: float = 1.0) -> tuple[Connection, bool]:
        """A connection, idle or new, and whether it was used before; to be given to `release`.

        Raises ConnectFailed, or QueueFull when too many requests are in flight.
        """
        if self.in_flight >= MAX_PER_ENDPOINT:
            raise QueueFull(
                f"{self.in_flight} requests are in flight to this model's server.", retry_after=1
            )
        # Counted before there is a connection: concurrent picks must see the load.
        self.in_flight += 1
        self.load += cost
        try:
            oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
            while self._idle and not fresh:
                connection = self._idle.pop()  # the newest: the least likely to be closed
                if not connection.closed and connection.idle_since > oldest:
                    connection.start_exchange()
                    return connection, True
                connection.close()
            connection = await connect(self._endpoint, CONNECT_TIMEOUT)
            connection.start_exchange()
            return connection, False
        except BaseException:
            self._remove_load(cost)
            raise

    def release(self, connection: Connection, cost: float = 1.0) -> None:
        """Keep the connection for another exchange if its last one is complete; else close it."""
        self._remove_load(cost)
        if connection.reusable and not self._retired:
            connection.set_idle()
            self._idle.append(connection)
            if len(self._idle) > MAX_IDLE:
                # The oldest, since the newest are taken first.
                self._idle.popleft().close()
        else:
            connection.close()

    def _remove_load(self, cost: float) -> None:
        self.in_flight -= 1
        # Exactly zero when idle: rounding errors must not add up.
        self.load = self.load - cost if self.in_flight else 0.0

    def retire(self) -> None:
        """Close idle connections now, and the others when they are released."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()


class PoolManager:
    """The pool of every server."""

    def __init__(self) -> None:
        self._pools: dict[Endpoint, Pool] = {}

    def of(self, endpoint: Endpoint) -> Pool:
        """The pool of a server, created at its first use."""
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = Pool(endpoint)
        return pool

    def in_flight(self, endpoint: Endpoint) -> int:
        """Requests of this router that a server is processing."""
        pool = self._pools.get(endpoint)
        return pool.in_flight if pool is not None else 0

    def load(self, endpoint: Endpoint) -> float:
        """Sum of the costs of these requests."""
        pool = self._pools.get(endpoint)
        return pool.load if pool is not None else 0.0

    def forget(self, endpoints: Iterable[Endpoint]) -> None:
        """Retire the pools of these servers; running requests complete."""
        for endpoint in endpoints:
            pool = self._pools.pop(endpoint, None)
            if pool is not None:
                pool.retire()

    def sweep(self, endpoints: Collection[Endpoint]) -> None:
        """Retire the pools of servers not in `endpoints` once they are many: a request that began
        before its server was removed may have opened one."""
        if len(self._pools) > len(endpoints) + SPARE_POOLS:
            self.forget([known for known in self._pools if known not in endpoints])

    def close(self) -> None:
        """Close every idle connection."""
        self.forget(list(self._pools))
