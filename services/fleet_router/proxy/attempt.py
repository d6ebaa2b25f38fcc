"""Gets a model server to begin its answer, trying others while that is safe. Called by `carry`.

An attempt may be repeated while nothing of the answer has been seen and the body can be sent again:
when no connection could be made, when the server broke off or said that it is not ready, and once
on the same server when a connection kept from an earlier request turned out to be dead.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from fastapi import Request

from fleet_contract.errors import Timeout, UpstreamFailed
from fleet_contract.spec import Engine
from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.send import Feed
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
from fleet_router.upstream.headers import request_head
from fleet_router.upstream.outliers import Outliers
from fleet_router.upstream.picker import EndpointPicker
from fleet_router.upstream.pool import Pool, PoolManager
from fleet_router.upstream.retry_budget import RetryBudget
from fleet_web import request_id
from fleet_web.client import client_of

MOST_REPEATS = 2
"""How often a request that may have been worked on is sent again: one that crashes servers must
not go through all of them."""
NOT_READY = 503


class Unreachable(Exception):
    """No server of the route could be tried, and the body can be sent another time."""


@dataclass(slots=True)
class Visit:
    """A request at one server: what is taken for it is given back by `end`."""

    endpoint: Endpoint
    connection: Connection
    reused: bool
    cost: float
    pool: Pool
    health: Outliers
    feed: Feed | None = None

    async def end(self) -> None:
        """It is over, however it went."""
        try:
            if self.feed is not None:
                await self.feed.end()
        finally:
            self.health.ended(self.endpoint)
            self.pool.give(self.connection, self.cost)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun: its head, and the connection its body comes from."""

    head: Head
    connection: Connection
    silence: float
    """Seconds without a byte after which the server is given up."""
    visit: Visit

    async def end(self) -> None:
        """Must be called, whether the answer was read or not."""
        await self.visit.end()


@dataclass(slots=True)
class _Trial:
    """What one request has seen so far."""

    route: Route
    body: Body
    record: RequestRecord
    tried: set[Endpoint] = field(default_factory=set)
    again: Endpoint | None = None
    """To be tried once more on a fresh connection."""


class Attempts:
    """What the attempts of all requests share."""

    def __init__(self, pools: PoolManager, picker: EndpointPicker, metrics: RouterMetrics) -> None:
        self._pools = pools
        self.picker = picker
        self._metrics = metrics
        self._turns = itertools.count()
        self._budgets: dict[str, RetryBudget] = {}

    async def open(
        self, request: Request, route: Route, body: Body, cost: RequestCost, record: RequestRecord
    ) -> Answer:
        """The answer of one of the route's servers; must be ended.

        Raises Unreachable when none could be tried, UpstreamFailed when one broke off and the
        request must not be sent again, Timeout when it stayed silent, ClientDisconnect when the
        client left.
        """
        trial = _Trial(route, body, record)
        budget = self._budget(route)
        budget.earn()
        turn = next(self._turns)
        while True:
            endpoint = trial.again or self.picker.choose(route, trial.tried, cost, turn)
            if endpoint is None:
                raise Unreachable
            if record.attempts:
                self._metrics.retries.labels(route.model).inc()
            record.attempts += 1
            record.endpoint = endpoint.name
            visit = await self._visit(trial, endpoint, cost.units)
            if visit is None:
                continue
            head = None
            try:
                head_bytes = _head_for(request, endpoint, body)
                client = client_of(request)
                visit.feed = Feed(visit.connection, head_bytes, body, client)
                head = await self._head(trial, visit, budget)
            finally:
                if head is None:
                    await visit.end()
            if head is not None:
                self.picker.health.succeeded(endpoint)
                return Answer(head, visit.connection, silence_limit(route), visit)

    async def _visit(self, trial: _Trial, endpoint: Endpoint, cost: float) -> Visit | None:
        """A connection to the server, None when it cannot be reached."""
        pool, health = self._pools.of(endpoint), self.picker.health
        health.begun(endpoint)
        try:
            connection, reused = await pool.take(fresh=trial.again is not None, cost=cost)
        except ConnectFailed:
            self._failed(trial, endpoint, "connect")
            return None
        except BaseException:
            health.ended(endpoint)
            raise
        return Visit(endpoint, connection, reused, cost, pool, health)

    async def _head(self, trial: _Trial, visit: Visit, budget: RetryBudget) -> Head | None:
        """The head of the answer, None when the request is to be sent again."""
        endpoint = visit.endpoint
        silence = silence_limit(trial.route)
        try:
            head = await visit.connection.read_head(silence)
        except UpstreamLost as error:
            if visit.reused and trial.again is None and trial.body.replayable:
                trial.again = endpoint
                return None
            self._failed(trial, endpoint, "lost")
            if not self._may_repeat(trial, budget):
                raise UpstreamFailed(
                    f"The server of {trial.route.model!r} broke off before it answered."
                ) from error
            return None
        except UpstreamSilent as error:
            self._failed(trial, endpoint, "silent")
            raise Timeout(
                f"The server of {trial.route.model!r} did not answer within {silence:g} s."
            ) from error
        elsewhere = trial.route.spec.engine is Engine.REMOTE
        if head.status != NOT_READY or elsewhere or not trial.body.replayable:
            return head
        # It starts or drains: another one may take the request, or this one in a moment.
        trial.tried.add(endpoint)
        trial.again = None
        self._metrics.upstream_errors.labels(trial.route.model, "not_ready").inc()
        return None

    def _may_repeat(self, trial: _Trial, budget: RetryBudget) -> bool:
        if not trial.body.replayable or trial.record.repeats >= MOST_REPEATS:
            return False
        trial.record.repeats += 1
        return budget.spend()

    def _failed(self, trial: _Trial, endpoint: Endpoint, kind: str) -> None:
        trial.tried.add(endpoint)
        trial.again = None
        self._metrics.upstream_errors.labels(trial.route.model, kind).inc()
        if self.picker.health.failed(endpoint, at_once=kind == "connect"):
            self._metrics.ejections.labels(trial.route.model).inc()

    def _budget(self, route: Route) -> RetryBudget:
        budget = self._budgets.get(route.model)
        if budget is None:
            budget = self._budgets[route.model] = RetryBudget()
        return budget

    def forget(self, known: frozenset[str]) -> None:
        """Keep nothing of models that are gone."""
        for model in self._budgets.keys() - known:
            del self._budgets[model]


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
