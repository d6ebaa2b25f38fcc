"""Gets a model server to begin its answer, trying others while that is safe. Called by `proxy`.

An attempt may be repeated while nothing of the answer has been seen and the body can be sent again:
when no connection could be made, and once when a connection kept from an earlier request turned
out to be dead.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from fleet_contract.errors import NotReady, Timeout, UpstreamFailed
from fleet_router.balance import least_load
from fleet_router.body import Body
from fleet_router.connection import (
    ConnectFailed,
    Connection,
    Head,
    UpstreamLost,
    UpstreamSilent,
)
from fleet_router.exchange import Exchange
from fleet_router.feed import feeding
from fleet_router.headers import request_head
from fleet_router.metrics import RouterMetrics
from fleet_router.pool import Pools
from fleet_router.routes import Endpoint, Route
from fleet_web import request_id

RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun: its head, and the connection its body comes from."""

    head: Head
    connection: Connection
    silence: float
    """Seconds without a byte after which the server is given up."""


class Attempts:
    """Holds what the attempts of all requests share."""

    def __init__(self, pools: Pools, metrics: RouterMetrics) -> None:
        self._pools = pools
        self._metrics = metrics
        self._turns = itertools.count()

    @asynccontextmanager
    async def open(
        self, request: Request, route: Route, body: Body, exchange: Exchange
    ) -> AsyncIterator[Answer]:
        """The answer of one of the route's servers.

        Raises NotReady when none can be reached, UpstreamFailed when one broke off before its
        answer began, Timeout when it stayed silent, ClientGone when the client left.
        """
        tried: set[Endpoint] = set()
        lost: UpstreamLost | None = None
        turn = next(self._turns)
        while True:
            endpoint = least_load(route.endpoints, self._pools.in_flight, tried, turn)
            if endpoint is None:
                raise _nobody_left(route, lost)
            if exchange.attempts:
                self._metrics.retries.labels(route.model).inc()
            exchange.attempts += 1
            exchange.endpoint = endpoint.name
            pool = self._pools.of(endpoint)
            try:
                connection, reused = await pool.take(fresh=lost is not None)
            except ConnectFailed:
                self._failed(route, "connect")
                tried.add(endpoint)
                continue
            try:
                head_bytes = _head_for(request, endpoint, body)
                async with feeding(connection, head_bytes, body, request.receive):
                    try:
                        silence = silence_limit(route)
                        head = await connection.read_head(silence)
                    except UpstreamLost as error:
                        self._failed(route, "lost")
                        if not (reused and lost is None and body.replayable):
                            raise _broken(route) from error
                        lost = error
                        continue
                    except UpstreamSilent as error:
                        self._failed(route, "silent")
                        raise Timeout(
                            f"The server of {route.model!r} did not answer within {silence:g} s."
                        ) from error
                    yield Answer(head, connection, silence)
                    return
            finally:
                pool.give(connection)

    def _failed(self, route: Route, kind: str) -> None:
        self._metrics.upstream_errors.labels(route.model, kind).inc()


def silence_limit(route: Route) -> float:
    """Seconds a server may send nothing: a full wait in its queue and a full run, twice the time
    the server gives a request, so that it always times out first."""
    return 2 * route.spec.limits.request_timeout


def _head_for(request: Request, endpoint: Endpoint, body: Body) -> bytes:
    target: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    if query := request.scope["query_string"]:
        target += b"?" + query
    return request_head(
        request.scope["headers"], target, endpoint, request_id.current(), body.length
    )


def _broken(route: Route) -> UpstreamFailed:
    return UpstreamFailed(f"The server of {route.model!r} broke off before it answered.")


def _nobody_left(route: Route, lost: UpstreamLost | None) -> NotReady | UpstreamFailed:
    if lost is not None:
        return _broken(route)
    return NotReady(
        f"No server of {route.model!r} can be reached; it is starting or down.",
        retry_after=RETRY_AFTER,
    )
