"""Carries one request to a server that answers it: tries, falls back, waits while there is none.

Called by `proxy` once the model is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from fleet_contract.errors import FleetError
from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import Attempts, Unreachable
from fleet_router.proxy.relay import relay
from fleet_router.proxy.response_writer import ResponseWriter
from fleet_router.proxy.waiting import Wait, WaitingRoom
from fleet_router.request.envelope import Envelope
from fleet_router.routing.table import Route
from fleet_web.disconnect import or_gone


@dataclass(frozen=True, slots=True)
class Carrier:
    """What the requests share."""

    attempts: Attempts
    holds: WaitingRoom
    metrics: RouterMetrics

    async def carry(
        self,
        request: Request,
        route: Route,
        envelope: Envelope,
        outlet: ResponseWriter,
        exchange: RequestRecord,
    ) -> None:
        """Answer `request` for `route`. Raises FleetError, ClientGone or ClientDisconnect."""
        journey = _Journey(self, request, envelope, outlet, exchange, Wait(self.holds, route))
        try:
            await journey.run(route)
        except FleetError as error:
            if not outlet.opened:
                raise
            exchange.status = error.status
            await outlet.end(error.body())
        finally:
            journey.hold.leave()


@dataclass(slots=True)
class _Journey:
    """One request under way."""

    shared: Carrier
    request: Request
    envelope: Envelope
    outlet: ResponseWriter
    exchange: RequestRecord
    hold: Wait
    renamed: bool = False

    async def run(self, route: Route) -> None:
        """Until a server answered. `exchange` speaks of the model asked for while waiting."""
        while True:
            for chosen in self._candidates(route):
                if await self._try(chosen, route):
                    return
            self.exchange.model, self.exchange.fallback_for = route.model, ""
            route = await self._wait(route)

    def _candidates(self, route: Route) -> Iterator[Route]:
        """The route, then the model named as its fallback; those that have servers."""
        if route.endpoints:
            yield route
        table = self.shared.holds.routes.table
        name = route.spec.fallback
        fallback = table.by_id.get(name) if table is not None and name is not None else None
        if fallback is None or fallback.model == route.model or not fallback.endpoints:
            return
        if fallback.spec.task is route.spec.task:
            self.shared.holds.wake(route)
            yield fallback

    async def _try(self, chosen: Route, asked: Route) -> bool:
        """Whether a server of `chosen` answered the request for `asked`."""
        exchange, body = self.exchange, self.envelope.body
        exchange.model = chosen.model
        exchange.fallback_for = asked.model if chosen is not asked else ""
        exchange.cold = self.hold.held
        exchange.held_ms = self.hold.seconds * 1000
        name = self._name_for(chosen)
        if name is not None:
            await body.rename(name)
            self.renamed = True
        attempts, peek = self.shared.attempts, self.envelope.peek
        try:
            answer = await attempts.open(self.request, chosen, body, peek, exchange)
        except Unreachable:
            return False
        try:
            if answer.connection.request_sent:
                await body.close()
            if chosen is asked:
                self.hold.answered()
            else:
                self.hold.leave()
                self.shared.metrics.fallbacks.labels(asked.model, chosen.model).inc()
            await relay(answer, self.outlet, exchange, self.shared.metrics)
        finally:
            await answer.end()
        return True

    def _name_for(self, route: Route) -> str | None:
        """The model id to put into the body; None to leave what the client wrote."""
        asked = self.envelope.model
        if route.sends:
            return route.sends if route.sends != asked or self.renamed else None
        if self.renamed or (asked is not None and asked not in route.spec.ids):
            return route.model
        return None

    async def _wait(self, route: Route) -> Route:
        """Until another try may be worth it; streams hear of it, and clients may leave."""
        beat = self.shared.holds.settings.heartbeat if self.envelope.peek.streams else 0.0
        due = self.outlet.beaten_at + beat
        work = self.hold.wait(route, due - self.hold.seconds if beat else None)
        newest = await self._while_there(work)
        if beat and self.hold.seconds >= due:
            self.exchange.cold = True
            await self.outlet.beat(self.hold.seconds)
        return newest

    async def _while_there(self, work: Coroutine[Any, Any, Route]) -> Route:
        """The result of `work`, as long as the client has not left: one that still sends is only
        known to be there by what it sends. Raises ClientGone, and what reading its body raises."""
        body = self.envelope.body
        if body.whole:
            return await or_gone(self.request, work)
        waiting, reading = asyncio.ensure_future(work), asyncio.ensure_future(body.read_on())
        try:
            await asyncio.wait((waiting, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                return await or_gone(self.request, waiting)
            return waiting.result()
        finally:
            for task in (waiting, reading):
                task.cancel()
            await asyncio.gather(waiting, reading, return_exceptions=True)
