"""Forwards a request to a server of its model or of the fallback; waits while none is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from fleet_contract.error_shapes import error_body
from fleet_contract.errors import FleetError, Timeout
from fleet_router.callers.meter import charge
from fleet_router.callers.request_record import RequestRecord
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import Attempts, Unreachable
from fleet_router.proxy.heartbeats import Heartbeats
from fleet_router.proxy.relay import relay
from fleet_router.proxy.response_writer import ResponseWriter
from fleet_router.proxy.waiting import Wait, WaitingRoom
from fleet_router.request.envelope import Envelope
from fleet_router.routing.select import allow_all
from fleet_router.routing.table import Route
from fleet_web.client import run_while_connected

PROGRESS_SECONDS = 2.0
"""Time between heartbeats with the progress of a start, where HEARTBEAT_SECONDS is longer: most
models of one machine start within that time."""


@dataclass(slots=True)
class Forward:
    """One request in progress. `attempts`, `waiting_room` and `metrics` are shared by all."""

    attempts: Attempts
    waiting_room: WaitingRoom
    metrics: RouterMetrics
    request: Request
    envelope: Envelope
    writer: ResponseWriter
    record: RequestRecord
    wait: Wait
    may_use: Callable[[str], bool] = allow_all
    """Whether the caller's key is valid for a model; a fallback needs it too."""
    renamed: bool = False

    async def run(self, route: Route) -> None:
        """Send a response for `route`. Raises FleetError or ClientDisconnect."""
        try:
            await self._run(route)
        except FleetError as error:
            if not self.writer.opened:
                raise
            self.record.status = error.status
            await self.writer.end(error_body(error, self.record.path))
        finally:
            self.wait.leave()

    async def _run(self, route: Route) -> None:
        """While waiting, the record has the requested model, not a fallback."""
        while True:
            for candidate in self._candidates(route):
                if await self._try(candidate, route):
                    return
            self.record.serve(route.spec)
            self.record.fallback_for = ""
            route = await self._wait_for_server(route)

    def _candidates(self, route: Route) -> Iterator[Route]:
        """The route, then its fallback; only those with servers."""
        if route.endpoints:
            yield route
        table = self.waiting_room.routes.table
        name = route.spec.fallback
        fallback = table.by_id.get(name) if table is not None and name is not None else None
        if fallback is None or fallback.model == route.model or not fallback.endpoints:
            return
        if not self.may_use(fallback.model):
            return
        if fallback.spec.task is route.spec.task:
            # The requested model should still start: it may be ready for the next request.
            self.waiting_room.wake(route)
            yield fallback

    async def _try(self, candidate: Route, requested: Route) -> bool:
        """Whether a server of `candidate` responded to a request for `requested`."""
        record, body = self.record, self.envelope.body
        record.serve(candidate.spec)
        record.adapter = self._adapter_of(candidate)
        record.fallback_for = requested.model if candidate is not requested else ""
        record.cold = self.wait.waited
        record.held_ms = self.wait.seconds * 1000
        name = self._name_for(candidate)
        if name is not None:
            await body.rename(name)
            self.renamed = True
        heartbeats = Heartbeats(self.writer, self._heartbeat_seconds)
        heartbeats.start()
        try:
            response = await self.attempts.open(
                self.request, candidate, body, self.envelope.cost, record
            )
        except Unreachable:
            return False
        except (ClientDisconnect, Timeout):
            if record.received:
                charge(record)
            raise
        finally:
            await heartbeats.stop()
        try:
            if response.connection.request_sent:
                await body.close()  # frees memory while the response is generated
            if candidate is requested:
                self.wait.served()
            else:
                self.wait.leave()
                self.metrics.fallbacks.labels(requested.model, candidate.model).inc()
            await relay(response, self.writer, record, self.metrics)
        finally:
            await response.end()
        return True

    @property
    def _heartbeat_seconds(self) -> float:
        return self.waiting_room.settings.heartbeat if self.envelope.cost.streams else 0.0

    def _adapter_of(self, route: Route) -> str:
        """Name of the adapter that the request selects at `route`; "" for none."""
        requested = self.envelope.model
        return (route.spec.adapter_named(requested) if requested is not None else None) or ""

    def _name_for(self, route: Route) -> str | None:
        """The model id to write into the body; None keeps the client's."""
        requested, adapter = self.envelope.model, self._adapter_of(route)
        suffix = f":{adapter}" if adapter else ""
        if route.upstream_model:
            # Even the same name: what else the body says about it must not reach a server of
            # several models.
            return f"{route.upstream_model}{suffix}"
        if adapter:  # servers of others know neither aliases nor their combination with adapters
            known = requested == f"{route.model}{suffix}"
        else:
            known = requested is None or requested in route.spec.ids
        return f"{route.model}{suffix}" if self.renamed or not known else None

    async def _wait_for_server(self, route: Route) -> Route:
        """Wait until another try may succeed; streams get heartbeats meanwhile.

        Raises as `_while_connected`.
        """
        interval = self._heartbeat_seconds
        if route.progress:
            interval = min(interval, PROGRESS_SECONDS)
        due = self.writer.heartbeat_at + interval
        work = self.wait.wait(route, due - self.wait.seconds if interval else None)
        newest = await self._while_connected(work)
        if interval and self.wait.seconds >= due:
            self.record.cold = True
            await self.writer.heartbeat(self.wait.seconds, newest.progress)
        return newest

    async def _while_connected(self, work: Coroutine[Any, Any, Route]) -> Route:
        """The result of `work`. Raises ClientDisconnect, and what reading the body raises.

        While a client is sending its body, a disconnect is noticed only by reading the body.
        """
        body = self.envelope.body
        if body.complete:
            return await run_while_connected(self.request, work)
        waiting, reading = asyncio.ensure_future(work), asyncio.ensure_future(body.read_rest())
        try:
            await asyncio.wait((waiting, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                return await run_while_connected(self.request, waiting)
            return waiting.result()
        finally:
            for task in (waiting, reading):
                task.cancel()
            await asyncio.gather(waiting, reading, return_exceptions=True)
