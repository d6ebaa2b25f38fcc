"""The console: a page at `/`, and the JSON routes below `/console/api` from which it is filled.

The page is the same for everybody and has no data. The routes need a key where the models need one;
what all callers do is for keys that may read metrics, others see their own requests and usage.
Where no key is needed, everybody sees what /metrics shows at the same port, and nothing of others
if that has a port of its own or is switched off. Orders to start and stop models are for keys with
that right, and without keys for a router on a loopback address.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_console.files import File, load
from fleet_console.response import page_response
from fleet_contract.api.control import MOST_SERVERS
from fleet_contract.errors import BadRequest, Forbidden, NotReady, RouteNotFound
from fleet_router.callers.auth import Auth
from fleet_router.callers.history import PastRequest
from fleet_router.callers.quota import Quota
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.select import allow_all, model_not_found
from fleet_router.routing.table import LiveRoutes, Route, RouteTable
from fleet_router.status.fleet_view import FleetView
from fleet_router.status.orders import Orders
from fleet_router.status.recent import Recent
from fleet_router.status.usage import Usage, usage_of
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)

API = "/console/api"
MAX_ROWS = 200
"""Models, requests or lines of usage in one response."""
MAX_SEARCH = 200
USAGE_SECONDS = 1.0
"""Age up to which the sums of all counters are used again; shared by all viewers."""
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Console:
    """The handlers. With `open_metrics`, callers may read metrics where no key is needed, with
    `open_orders` give orders; `orders` None takes none."""

    def __init__(
        self,
        routes: LiveRoutes,
        auth: Auth,
        metrics: RouterMetrics,
        view: FleetView,
        *,
        open_metrics: bool,
        orders: Orders | None = None,
        open_orders: bool = False,
    ) -> None:
        self._routes = routes
        self._auth = auth
        self._metrics = metrics
        self._view = view
        self._open_metrics = open_metrics
        self._orders = orders
        self._open_orders = open_orders
        self._usage: Recent[str, Usage] = Recent(USAGE_SECONDS)
        self._files: Mapping[str, File] = load()

    def router(self) -> APIRouter:
        """The routes, which are no part of the API that the OpenAPI document describes."""
        router = APIRouter(include_in_schema=False)
        for path in self._files:
            router.add_api_route(path, self.file, methods=["GET"])
        router.add_api_route(f"{API}/session", self.session, methods=["GET"])
        router.add_api_route(f"{API}/fleet", self.fleet, methods=["GET"])
        router.add_api_route(f"{API}/models/{{model_id:path}}", self.model, methods=["GET"])
        router.add_api_route(f"{API}/models/{{model_id:path}}", self.order, methods=["POST"])
        router.add_api_route(f"{API}/requests", self.requests, methods=["GET"])
        router.add_api_route(f"{API}/usage", self.usage, methods=["GET"])
        return router

    async def file(self, request: Request) -> Response:
        """A file of the page; needs no key."""
        found = self._files.get(request.scope["path"])
        if found is None:
            raise RouteNotFound("There is no such file of the console.")
        return page_response(found, request.headers)

    async def session(self, request: Request) -> Response:
        """What the caller's key may do. Raises Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        key = quota.key if quota is not None else None
        limits = key.limits.model_dump(by_alias=True, exclude_none=True) if key is not None else {}
        return self._json({
            "key": key.name if key is not None else None,
            "key_required": self._auth.required,
            "sees_all": self._sees_all(quota),
            "controls": self._controls(quota),
            "most_servers": MOST_SERVERS,
            "limits": limits,
        })  # fmt: skip

    async def fleet(self, request: Request) -> Response:
        """The models that the caller may use, at most MAX_ROWS whose id contains the parameter
        `search`. Raises Unauthorized, NotReady, BadRequest."""
        quota = self._auth.identify(request.scope["headers"])
        search, table = _search(request), self._table()
        may_use = quota.key.may_use if quota is not None else allow_all
        found = [one for one in table.routes if search in one.model.lower() and may_use(one.model)]
        rows = await self._view.rows(table, found[:MAX_ROWS], with_load=self._sees_all(quota))
        return self._json({"models": rows, "total": len(found)})

    async def model(self, request: Request, model_id: str) -> Response:
        """One model by id or alias. Raises ModelNotFound, Unauthorized, NotReady."""
        quota = self._auth.identify(request.scope["headers"])
        table = self._table()
        route = self._route(table, model_id, quota)
        return self._json(await self._view.page(table, route, with_load=self._sees_all(quota)))

    async def order(self, request: Request, model_id: str) -> Response:
        """Start a model, or with the parameter `servers` stop it (0) or set their number; 202.
        Logged with the name of the key. Raises ModelNotFound, Unauthorized, Forbidden, NotReady,
        BadRequest."""
        quota = self._auth.identify(request.scope["headers"])
        route = self._route(self._table(), model_id, quota)
        if self._orders is None or not self._controls(quota):
            raise Forbidden(
                "Models cannot be started and stopped here: that needs a key with `manage: true`,"
                " or a router on a loopback address without keys.",
                code="manage_not_allowed",
            )
        servers = _servers(request)
        self._orders.give(route, servers)
        key = quota.key.name if quota is not None else ""
        event(logger, "model_ordered", model=route.model, servers=servers, key=key)
        return json_response({"status": "ordered"}, status=202, headers=HEADERS)

    async def requests(self, request: Request) -> Response:
        """The last requests, of the model in the parameter `model` if there is one. Raises
        Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        model = request.query_params.get("model")
        visible = self._visible(quota)

        def accept(one: PastRequest) -> bool:
            return visible(one.key) and (model is None or one.model == model)

        found = self._view.history.requests(accept, MAX_ROWS)
        return self._json({"requests": [one._asdict() for one in found]})

    async def usage(self, request: Request) -> Response:
        """Requests, errors and usage by key and model since the router was started, the MAX_ROWS
        with the most requests. Raises Unauthorized."""
        quota = self._auth.identify(request.scope["headers"])
        # In a thread: the counters of a large fleet would delay streams.
        found = await self._usage.of("", lambda: asyncio.to_thread(usage_of, self._metrics))
        if self._sees_all(quota):
            rows = found.rows
        else:
            rows = found.by_key.get(quota.key.name, []) if quota is not None else []
        return self._json({"usage": rows[:MAX_ROWS], "total": len(rows)})

    def _json(self, content: dict[str, Any]) -> Response:
        """With the router whose figures these are, and the Unix time of its start: a load balancer
        may choose another router for each request."""
        router = {"router": platform.node(), "since": self._view.history.started}
        return json_response({**content, **router}, headers=HEADERS)

    def _route(self, table: RouteTable, model_id: str, quota: Quota | None) -> Route:
        """The route of a model that the caller may use. Raises ModelNotFound."""
        route = table.find(model_id)
        may_use = quota.key.may_use if quota is not None else allow_all
        if route is None or not may_use(route.model):
            raise model_not_found(table, model_id, may_use)
        return route

    def _controls(self, quota: Quota | None) -> tuple[str, ...]:
        """What the caller may order."""
        may = quota.key.manage if quota is not None else self._open_orders
        return self._orders.controls if may and self._orders is not None else ()

    def _sees_all(self, quota: Quota | None) -> bool:
        """Whether the caller may see what all callers do."""
        return quota.key.metrics if quota is not None else self._open_metrics

    def _visible(self, quota: Quota | None) -> Callable[[str], bool]:
        """Whether the caller may see the requests of the key with a name."""
        if self._sees_all(quota):
            return lambda key: True
        own = quota.key.name if quota is not None else None
        return lambda key: key == own

    def _table(self) -> RouteTable:
        if self._routes.table is None:
            raise NotReady("The router has not loaded its models yet.", retry_after=1)
        return self._routes.table


def _servers(request: Request) -> int | None:
    text = request.query_params.get("servers")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise BadRequest("`servers` is no number.", param="servers")
    return int(text)


def _search(request: Request) -> str:
    text = request.query_params.get("search", "")
    if len(text) > MAX_SEARCH:
        raise BadRequest(f"`search` has more than {MAX_SEARCH} characters.", param="search")
    return text.lower()
