"""The GET routes of the router: models, health, metrics and the OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.errors import NotReady
from fleet_contract.names import PATH_HEALTH, PATH_LIVE, PATH_METRICS, PATH_OPENAPI, PATH_READY
from fleet_contract.server_protocol import ServerPhase
from fleet_router.callers.auth import Auth
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.select import allow_all, model_not_found
from fleet_router.routing.table import LiveRoutes, RouteTable
from fleet_router.status.merged_metrics import render, scrape
from fleet_router.status.models import READY, Models
from fleet_router.status.openapi import document
from fleet_router.upstream.pool import PoolManager
from fleet_web.openapi.document import DocumentEndpoint
from fleet_web.responses import json_response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """The handlers. `draining` is set at the first signal and makes the router not ready."""

    def __init__(
        self,
        routes: LiveRoutes,
        pools: PoolManager,
        metrics: RouterMetrics,
        auth: Auth,
        *,
        scrapes: bool = True,
    ) -> None:
        self._auth = auth
        self._scrapes = scrapes
        self._routes = routes
        self._pools = pools
        self._metrics = metrics
        self._models = Models(pools)
        self.draining = False

    def router(self, *, with_metrics: bool) -> APIRouter:
        """The routes."""
        self._document = DocumentEndpoint(
            lambda: document(guarded=self._auth.required, with_metrics=with_metrics)
        )
        router = APIRouter()
        router.add_api_route(PATH_LIVE, self.livez, methods=["GET"])
        router.add_api_route(PATH_READY, self.readyz, methods=["GET"])
        router.add_api_route(PATH_HEALTH, self.health, methods=["GET"])
        router.add_api_route("/v1/models", self.list_models, methods=["GET"])
        router.add_api_route("/v1/models/{model_id:path}", self.get_model, methods=["GET"])
        router.add_api_route(PATH_OPENAPI, self.openapi, methods=["GET"])
        if with_metrics:
            router.add_api_route(PATH_METRICS, self.metrics, methods=["GET"])
        return router

    async def livez(self) -> Response:
        """200 while the process runs."""
        return json_response({"status": "ok"})

    async def readyz(self) -> Response:
        """200 if the router accepts traffic, whatever the state of its models."""
        if self.draining or self._routes.table is None:
            state = (ServerPhase.DRAINING if self.draining else ServerPhase.STARTING).value
            return json_response({"status": state}, status=503)
        return json_response({"status": "ok"})

    async def health(self) -> Response:
        """200 if every model is ready, with the state of each."""
        if self._routes.table is None:
            return json_response({"status": ServerPhase.STARTING.value, "models": {}}, status=503)
        entries = await self._models.listing(self._routes.table)
        states = {entry["id"]: entry["state"] for entry in entries}
        ready = not self.draining and all(state == READY for state in states.values())
        body = {"status": "ok" if ready else "not_ready", "models": states}
        return json_response(body, status=200 if ready else 503)

    async def list_models(self, request: Request) -> Response:
        """Every model that the caller may use, as an OpenAI list. Raises Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        entries = await self._models.listing(self._table())
        if quota is not None:
            entries = [entry for entry in entries if quota.key.may_use(entry["id"])]
        return json_response({"object": "list", "data": entries})

    async def get_model(self, request: Request, model_id: str) -> Response:
        """One model by id or alias. Raises ModelNotFound, Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        table = self._table()
        route = table.by_id.get(model_id)
        if route is None or (quota is not None and not quota.key.may_use(route.model)):
            may_use = quota.key.may_use if quota is not None else allow_all
            raise model_not_found(table, model_id, may_use)
        entry: dict[str, Any] = await self._models.entry(route)
        return json_response(entry)

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document. Raises Unauthorized."""
        self._auth.identify(request.scope["headers"])
        return await self._document.get()

    async def metrics(self) -> Response:
        """The metrics of the router and, if it scrapes them, of every server."""
        table = self._routes.table if self._scrapes else None
        scrapes = await scrape(self._pools, table) if table is not None else []
        text = await asyncio.to_thread(render, self._metrics.registry, scrapes)
        return Response(text, media_type=METRICS_TYPE)

    def _table(self) -> RouteTable:
        if self._routes.table is None:
            raise NotReady("The router has not loaded its models yet.", retry_after=1)
        return self._routes.table
