"""The GET routes of the router: models, health, metrics and the OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api import load_report
from fleet_contract.errors import Forbidden, NotReady
from fleet_contract.names import (
    PATH_HEALTH,
    PATH_LIVE,
    PATH_LOAD,
    PATH_METRICS,
    PATH_OPENAPI,
    PATH_READY,
)
from fleet_contract.server_protocol import ServerPhase
from fleet_router.callers.auth import Auth, has_key
from fleet_router.callers.quota import Quota
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.select import allow_all, model_not_found
from fleet_router.routing.table import LiveRoutes, RouteTable
from fleet_router.status.merged_metrics import render, scrape
from fleet_router.status.models import AS_WANTED, Models, adapter_entry, with_adapters
from fleet_router.status.openapi import document
from fleet_router.upstream.pool import PoolManager
from fleet_web.exposition import Exposition, exposition
from fleet_web.instance import probe_headers
from fleet_web.openapi.document import DocumentEndpoint
from fleet_web.responses import json_response

HEALTH_SECONDS = 1.0
"""How long the states of the models at /health are kept: every query is sent to all servers."""


class Admin:
    """The handlers. `draining` is set at the first signal and makes the router not ready;
    `warning` is shown at /health unless it is empty; with `exemplars`, the metrics have some.
    `models` is for other views of the fleet."""

    def __init__(
        self,
        routes: LiveRoutes,
        pools: PoolManager,
        metrics: RouterMetrics,
        auth: Auth,
        *,
        scrapes: bool = True,
        warning: str = "",
        exemplars: bool = False,
    ) -> None:
        self._auth = auth
        self._scrapes = scrapes
        self._routes = routes
        self._pools = pools
        self._metrics = metrics
        self.models = Models(pools)
        self._warnings = [warning] if warning else []
        self._exemplars = exemplars
        self._rendering: dict[Exposition, asyncio.Task[bytes]] = {}
        self.draining = False

    def router(self, *, with_metrics: bool) -> APIRouter:
        """The routes of the port for clients."""
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
            router.add_api_route(PATH_LOAD, self.load, methods=["GET"])
        return router

    def private_router(self) -> APIRouter:
        """The routes of the port for metrics, which need no key."""
        router = APIRouter()
        router.add_api_route(PATH_LIVE, self.livez, methods=["GET"])
        router.add_api_route(PATH_READY, self.readyz, methods=["GET"])
        router.add_api_route(PATH_HEALTH, self.whole_health, methods=["GET"])
        router.add_api_route(PATH_METRICS, self.all_metrics, methods=["GET"])
        router.add_api_route(PATH_LOAD, self.whole_load, methods=["GET"])
        return router

    async def livez(self) -> Response:
        """200 while the process runs."""
        return json_response({"status": "ok"}, headers=probe_headers())

    async def readyz(self) -> Response:
        """200 if the router accepts traffic, whatever the state of its models."""
        # Before the first table every request would get a 503.
        if self.draining or self._routes.table is None:
            state = (ServerPhase.DRAINING if self.draining else ServerPhase.STARTING).value
            return json_response({"status": state}, status=503)
        return json_response({"status": "ok"}, headers=probe_headers())

    async def health(self, request: Request) -> Response:
        """200 if every model is ready, scaled to zero or stopped. The states of the models need a
        key where one is required, and are those that the caller may use. Raises Unauthorized for
        an invalid key."""
        headers = request.scope["headers"]
        if not self._auth.required:
            return await self.whole_health()
        # Without a key no 401: load balancers probe this path and have none.
        quota = self._auth.identify(headers) if has_key(headers) else None
        return await self._health(quota, detailed=quota is not None)

    async def whole_health(self) -> Response:
        """200 if every model is ready, scaled to zero or stopped, with the state of each."""
        return await self._health(None, detailed=True)

    async def _health(self, quota: Quota | None, *, detailed: bool) -> Response:
        table = self._routes.table
        entries = await self.models.recent(table, HEALTH_SECONDS) if table is not None else []
        may_use = quota.key.may_use if quota is not None else allow_all
        states = {each["id"]: each["state"] for each in entries if may_use(each["id"])}
        ready = not self.draining and AS_WANTED.issuperset(states.values())
        status = "ok" if ready else "not_ready"
        body: dict[str, Any] = {"status": status if table else ServerPhase.STARTING.value}
        if detailed:
            body["models"] = states
            if self._warnings:
                body["warnings"] = self._warnings
        return json_response(body, status=200 if ready and table else 503)

    async def list_models(self, request: Request) -> Response:
        """Every model that the caller may use, as an OpenAI list. Raises Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        table = self._table()
        entries = await self.models.listing(table)
        if quota is not None:
            entries = [entry for entry in entries if quota.key.may_use(entry["id"])]
        # Another model that has the id of an adapter has an entry of its own, and the requests.
        whole = [each for entry in entries for each in with_adapters(entry)
                 if each is entry or each["id"] not in table.by_id]  # fmt: skip
        return json_response({"object": "list", "data": whole})

    async def get_model(self, request: Request, model_id: str) -> Response:
        """One model or adapter by id or alias. Raises ModelNotFound, Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        table = self._table()
        route = table.find(model_id)
        # The same 404 for a model that the key may not use, so that its existence is not revealed.
        if route is None or (quota is not None and not quota.key.may_use(route.model)):
            may_use = quota.key.may_use if quota is not None else allow_all
            raise model_not_found(table, model_id, may_use)
        entry: dict[str, Any] = await self.models.entry(route)
        if (adapter := route.spec.adapter_named(model_id)) and model_id not in table.by_id:
            entry = adapter_entry(entry, f"{route.model}:{adapter}")
        return json_response(entry)

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document. Raises Unauthorized."""
        self._auth.identify(request.scope["headers"])
        return await self._document.get()

    async def metrics(self, request: Request) -> Response:
        """As `all_metrics`, for keys that may read them. Raises Unauthorized, Forbidden."""
        self._check_metrics_key(request)
        return await self.all_metrics(request)

    async def load(self, request: Request) -> Response:
        """As `whole_load`, for keys that may read metrics. Raises Unauthorized, Forbidden."""
        self._check_metrics_key(request)
        return await self.whole_load()

    async def whole_load(self) -> Response:
        """The load report of this router."""
        content = load_report.render(self._metrics.load.loads())
        return Response(content, media_type="application/json")

    def _check_metrics_key(self, request: Request) -> None:
        quota = self._auth.identify(request.scope["headers"])
        if quota is not None and not quota.key.metrics:
            raise Forbidden(
                "This API key may not read metrics: set `metrics: true` for it in the key file, or"
                " METRICS_PORT for a port without keys.",
                code="metrics_not_allowed",
            )

    async def all_metrics(self, request: Request) -> Response:
        """The metrics of the router and, if it scrapes them, of every server; concurrent requests
        share the result."""
        chosen = exposition(request.headers.get("accept", ""), exemplars=self._exemplars)
        rendering = self._rendering.get(chosen)
        if rendering is None or rendering.done():
            rendering = self._rendering[chosen] = asyncio.create_task(self._render(chosen))
        # Shielded: a scraper that disconnects must not cancel the result of the others.
        return Response(await asyncio.shield(rendering), media_type=chosen.media_type)

    async def _render(self, chosen: Exposition) -> bytes:
        table = self._routes.table if self._scrapes else None
        scrapes = await scrape(self._pools, table) if table is not None else []
        # In a thread: rendering the series of a large fleet would delay streams.
        return await asyncio.to_thread(render, self._metrics.registry, scrapes, chosen)

    def _table(self) -> RouteTable:
        if self._routes.table is None:
            raise NotReady("The router has not loaded its models yet.", retry_after=1)
        return self._routes.table
