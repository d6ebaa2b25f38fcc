"""The ASGI app for allow-listed paths: finds the model and forwards the request."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from starlette.types import Receive, Scope, Send

from fleet_contract.errors import NotReady, TooLarge
from fleet_contract.names import HEADER_SESSION
from fleet_router.callers.auth import Auth
from fleet_router.callers.identity import caller_id
from fleet_router.callers.request_record import RequestRecord, record_of
from fleet_router.metrics import RouterMetrics
from fleet_router.proxy.attempt import Attempts
from fleet_router.proxy.forward import Forward
from fleet_router.proxy.response_writer import ResponseWriter
from fleet_router.proxy.transcription import Transcriber, needs_transcription, speech_models
from fleet_router.proxy.waiting import Wait, WaitingRoom, refuse_ended
from fleet_router.request.envelope import (
    Budgets,
    Envelope,
    body_limit,
    open_envelope,
    path_limit,
)
from fleet_router.routing.groups import member_for
from fleet_router.routing.paths import PATHS, PathRule
from fleet_router.routing.select import allow_all, select_route
from fleet_router.routing.table import LiveRoutes, Route, RouteTable
from fleet_web.errors import status_of
from fleet_web.request_body.byte_budget import ROUTER_SHARE, ByteBudget, memory_limit

DISK_BYTES = 1024 * 1024 * 1024
"""Bound for the uploads whose beginning is kept."""


class Proxy:
    """Raises FleetError and ClientDisconnect; a request uses the route that it found first.

    `transcription_model` is the model that transcribes recordings in chats, None for the only one.
    """

    transcriber: Transcriber | None = None

    def __init__(
        self,
        routes: LiveRoutes,
        attempts: Attempts,
        waiting_room: WaitingRoom,
        metrics: RouterMetrics,
        auth: Auth,
        transcription_model: str | None = None,
    ) -> None:
        self._routes = routes
        self._auth = auth
        self._attempts = attempts
        self._waiting_room = waiting_room
        self._metrics = metrics
        self._transcription_model = transcription_model
        self._budgets = Budgets(ByteBudget(memory_limit(ROUTER_SHARE)), ByteBudget(DISK_BYTES))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        rule = PATHS[scope["path"]]
        record.path = rule.path
        try:
            await self._handle(Request(scope, receive), rule, send, record)
        except Exception as error:
            # A response that has started keeps its status: only the record shows the failure.
            record.status = status_of(error)
            raise

    async def _handle(
        self, request: Request, rule: PathRule, send: Send, record: RequestRecord
    ) -> None:
        quota = self._auth.identify(request.scope["headers"])
        if quota is not None:
            record.key = quota.key.name
        record.caller = caller_id(quota, request.client.host if request.client else "")
        table = self._routes.table
        if table is None:
            raise NotReady("The router has not loaded its models yet.", retry_after=1)
        limit = path_limit(table, rule)
        envelope = await open_envelope(
            request, rule, limit, self._budgets, record.caller, prefix=table.uses_prefix_hash
        )
        try:
            may_use = quota.key.may_use if quota is not None else allow_all
            route = select_route(table, rule, envelope.model, may_use)
            session = request.headers.get(HEADER_SESSION) or record.caller
            member = member_for(table, route, envelope.model, session)
            record.serve(member.spec)
            _check_size(member, rule, envelope.body.length)
            if needs_transcription(rule.path, member.spec, envelope):
                # Before its recordings cost anything. Its model is woken afterwards: both at once
                # may not fit the machine.
                self._auth.check(quota, route.model, envelope.cost.images, record)
                if member.spec.fallback is None:
                    refuse_ended(member)
                envelope = await self._transcribed(request, envelope, table, may_use)
            record.prompt_bytes = envelope.cost.prompt_bytes
            with self._auth.admitted(quota, route.model, envelope.cost.images, record):
                record.images = envelope.cost.images
                await self._forward(request, member, envelope, send, record, may_use)
        finally:
            # Also for a rejected request, which has reserved memory too.
            await envelope.body.close()

    async def _transcribed(
        self,
        request: Request,
        envelope: Envelope,
        table: RouteTable,
        may_use: Callable[[str], bool],
    ) -> Envelope:
        """The request with texts in place of its recordings, if the fleet can transcribe."""
        models = speech_models(table, self._transcription_model, may_use)
        if not models or self.transcriber is None:
            return envelope
        prefix = table.uses_prefix_hash
        return await self.transcriber.replace(request, envelope, models, prefix=prefix)

    async def _forward(
        self,
        request: Request,
        route: Route,
        envelope: Envelope,
        send: Send,
        record: RequestRecord,
        may_use: Callable[[str], bool],
    ) -> None:
        metrics = self._metrics
        in_flight = metrics.in_flight.of(route.model)
        in_flight.inc()
        metrics.load.started(route.model)
        try:
            metrics.last_request.of(route.model).set_to_current_time()
            forward = Forward(
                self._attempts, self._waiting_room, metrics, request, envelope,
                ResponseWriter(send), record, Wait(self._waiting_room, route), may_use,
            )  # fmt: skip
            await forward.run(route)
        finally:
            in_flight.dec()
            metrics.load.ended(route.model)


def _check_size(route: Route, rule: PathRule, length: int | None) -> None:
    limit = body_limit(route.spec, rule.kind)
    if length is not None and length > limit:
        raise TooLarge(
            f"The body has {length} bytes; {route.model!r} accepts at most {limit}.",
        )
