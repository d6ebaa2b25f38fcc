"""Attempts at the servers of a model until one of them starts a response, where that is safe.

An attempt may be repeated while nothing of the response was received and the body can be sent
again: when no connection could be made, when the server closed the connection or is not ready, and
once on the same server when a reused connection turned out to be closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from fastapi import Request

from fleet_contract.errors import Timeout, UpstreamFailed
from fleet_contract.names import HEADER_ABSENT
from fleet_contract.spec import Engine
from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.send import RequestSender
from fleet_router.request.body import Body
from fleet_router.request.cost import RequestCost
from fleet_router.routing.table import Endpoint, Route
from fleet_router.upstream.connection import (
    ConnectFailed,
    Connection,
    Head,
    UpstreamLost,
    UpstreamSilent,
)
from fleet_router.upstream.headers import next_hop, request_head
from fleet_router.upstream.outliers import Outliers
from fleet_router.upstream.picker import EndpointPicker
from fleet_router.upstream.pool import Pool, PoolManager
from fleet_router.upstream.retry_budget import RetryBudget
from fleet_web import request_id
from fleet_web.client import client_of

MAX_REPEATS = 2
"""How often a request that a server may have processed is sent again: one that crashes servers
must not reach all of them."""
NOT_READY = 503
NOT_FOUND = 404
ABSENT = HEADER_ABSENT.encode()


class Unreachable(Exception):
    """No server of the route could be tried; the body can still be sent."""


@dataclass(slots=True)
class Attempt:
    """A request at one server; `end` releases its connection and its share of the load."""

    endpoint: Endpoint
    connection: Connection
    reused: bool
    cost: float
    pool: Pool
    outliers: Outliers
    sender: RequestSender | None = None

    async def end(self) -> None:
        """Must be called once, whatever happened."""
        try:
            if self.sender is not None:
                await self.sender.end()
        finally:
            self.outliers.ended(self.endpoint)  # after `failed` or `succeeded` without effect
            self.pool.release(self.connection, self.cost)


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """A response that has started: its head, and the connection its body comes from."""

    head: Head
    connection: Connection
    read_timeout: float
    """Seconds without a byte after which the server counts as failed."""
    attempt: Attempt

    async def end(self) -> None:
        """Must be called, whether the body was read or not."""
        await self.attempt.end()


@dataclass(slots=True)
class _Progress:
    """The attempts at one request so far."""

    route: Route
    body: Body
    record: RequestRecord
    tried: set[Endpoint] = field(default_factory=set)
    retry_fresh: Endpoint | None = None
    """To be tried once more, over a new connection."""


class Attempts:
    """Makes attempts; holds what those of all requests share."""

    def __init__(self, pools: PoolManager, picker: EndpointPicker, metrics: RouterMetrics) -> None:
        self._pools = pools
        self.picker = picker
        self._metrics = metrics
        self._rotation = itertools.count()
        self._budgets: dict[str, RetryBudget] = {}

    async def open(
        self, request: Request, route: Route, body: Body, cost: RequestCost, record: RequestRecord
    ) -> UpstreamResponse:
        """The response of one of the route's servers; must be ended.

        Raises Unreachable when no server could be tried, UpstreamFailed when one closed the
        connection and the request must not be sent again, Timeout when it sent nothing,
        ClientDisconnect.
        """
        progress = _Progress(route, body, record)
        budget = self._budget(route)
        # Once per request, not per attempt: retries must not earn further retries.
        budget.earn()
        rotation = next(self._rotation)
        while True:
            endpoint = progress.retry_fresh or self.picker.pick(
                route, progress.tried, cost, rotation, record.adapter
            )
            if endpoint is None:
                raise Unreachable
            if record.attempts:
                self._metrics.retries.labels(route.model).inc()
            record.attempts += 1
            record.endpoint = endpoint.name
            attempt = await self._connect(progress, endpoint, cost.units)
            if attempt is None:
                continue
            head = None
            try:
                head_bytes = _request_head(request, route, endpoint, body, record)
                client = client_of(request)
                attempt.sender = RequestSender(attempt.connection, head_bytes, body, client)
                head = await self._read_head(progress, attempt, budget)
            finally:
                # Read before `end`, which may give the connection to another request.
                record.sent_bytes = attempt.connection.sent_bytes
                record.received = attempt.connection.request_sent
                if head is None:
                    await attempt.end()
            if head is not None:
                self.picker.outliers.succeeded(endpoint)
                return UpstreamResponse(head, attempt.connection, read_timeout(route), attempt)

    async def _connect(
        self, progress: _Progress, endpoint: Endpoint, cost: float
    ) -> Attempt | None:
        """An attempt with a connection to the server; None when it cannot be reached."""
        pool, outliers = self._pools.of(endpoint), self.picker.outliers
        outliers.started(endpoint)
        try:
            fresh = progress.retry_fresh is not None
            connection, reused = await pool.acquire(fresh=fresh, cost=cost)
        except ConnectFailed:
            self._failed(progress, endpoint, "connect")
            return None
        except BaseException:
            # Cancellation too: an ejected server must not stay marked as probed.
            outliers.ended(endpoint)
            raise
        return Attempt(endpoint, connection, reused, cost, pool, outliers)

    async def _read_head(
        self, progress: _Progress, attempt: Attempt, budget: RetryBudget
    ) -> Head | None:
        """The head of the response; None when the request is to be sent again."""
        endpoint, route = attempt.endpoint, progress.route
        seconds = read_timeout(route)
        try:
            head = await attempt.connection.read_head(seconds)
        except UpstreamLost as error:
            # Servers close idle connections at any time; that is no failure of this request.
            if attempt.reused and progress.retry_fresh is None and progress.body.replayable:
                progress.retry_fresh = endpoint
                return None
            self._failed(progress, endpoint, "lost")
            if not self._may_repeat(progress, budget):
                raise UpstreamFailed(
                    f"The server of {route.model!r} closed the connection before its response."
                ) from error
            return None
        except UpstreamSilent as error:
            self._failed(progress, endpoint, "silent")
            # Never repeated: the server may still be generating, and a copy would double its load.
            raise Timeout(
                f"The server of {route.model!r} did not respond within {seconds:g} s."
            ) from error
        kind = _refusal(head, progress.record.adapter)
        if kind is None or route.spec.engine is Engine.REMOTE or not progress.body.replayable:
            return head
        # Another server may accept the request, or this one a moment later.
        if kind == "no_adapter":
            self.picker.absent.note(endpoint, progress.record.adapter)
        progress.tried.add(endpoint)
        progress.retry_fresh = None
        self._metrics.upstream_errors.labels(route.model, kind).inc()
        return None

    def _may_repeat(self, progress: _Progress, budget: RetryBudget) -> bool:
        if not progress.body.replayable or progress.record.repeats >= MAX_REPEATS:
            return False
        progress.record.repeats += 1
        return budget.spend()

    def _failed(self, progress: _Progress, endpoint: Endpoint, kind: str) -> None:
        progress.tried.add(endpoint)
        progress.retry_fresh = None
        self._metrics.upstream_errors.labels(progress.route.model, kind).inc()
        if self.picker.outliers.failed(endpoint, at_once=kind == "connect"):
            self._metrics.ejections.labels(progress.route.model).inc()

    def _budget(self, route: Route) -> RetryBudget:
        budget = self._budgets.get(route.model)
        if budget is None:
            budget = self._budgets[route.model] = RetryBudget()
        return budget

    def forget(self, models: Iterable[str]) -> None:
        """Drop the retry budgets of these models."""
        for model in models:
            self._budgets.pop(model, None)


def _refusal(head: Head, adapter: str) -> str | None:
    """Why the server, but not all servers of the model, refuses the request: it starts or drains,
    or its version of the model lacks the adapter."""
    if head.status == NOT_READY:
        return "not_ready"
    if adapter and head.status == NOT_FOUND and head.get(ABSENT) is not None:
        return "no_adapter"
    return None


def read_timeout(route: Route) -> float:
    """Seconds a server may send nothing: a full wait in its queue and a full run, twice the
    request timeout of the server, so that the server always times out first."""
    return 2 * route.spec.limits.request_timeout


def _request_head(
    request: Request, route: Route, endpoint: Endpoint, body: Body, record: RequestRecord
) -> bytes:
    target: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    if query := request.scope["query_string"]:
        target += b"?" + query
    headers = request.scope["headers"]
    if route.spec.engine is Engine.REMOTE:
        # Callers are identified to this fleet's servers only; only others may be routers.
        caller, hops = "", next_hop(headers)
    else:
        caller, hops = record.caller, 0
    return request_head(headers, target, endpoint, request_id.current(), body.length, caller, hops)
