"""The router's report to the `modelfleet up` that started it, which starts and stops servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from fleet_contract.api import control
from fleet_contract.api.control import ControlReport
from fleet_contract.errors import Unauthorized
from fleet_contract.names import PATH_CONTROL
from fleet_router.load import LoadTracker
from fleet_router.status.orders import LocalOrders


class Control:
    """`secret` is the bearer token that requests must have, whether clients need keys or not;
    `orders` are those of the console."""

    def __init__(
        self, secret: str, version: Callable[[], int], load: LoadTracker, orders: LocalOrders
    ) -> None:
        self._expected = f"Bearer {secret}".encode()
        self._version = version
        self._load = load
        self._orders = orders

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route(PATH_CONTROL, self.report, methods=["GET"])
        return router

    async def report(self, request: Request) -> Response:
        """The control report. Raises Unauthorized."""
        self._check(request)
        report = ControlReport(self._version(), self._load.loads(), self._orders.take())
        return Response(control.render(report), media_type="application/json")

    def _check(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not secrets.compare_digest(given, self._expected):
            raise Unauthorized("This path is for the process that started the router.")
