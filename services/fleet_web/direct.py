"""A short way to the busiest endpoints, past FastAPI's routing, which costs 0.2 ms a request.

The server's app mounts it. The same endpoints are routes of the app as well, so that other methods
are refused and documents list them as everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_contract.errors import FleetError
from fleet_web import errors
from fleet_web.disconnect import ClientGone

Endpoint = Callable[[Request], Awaitable[Response]]


def posted(routes: APIRouter) -> dict[str, Endpoint]:
    """The endpoints of `routes` that take a POST, by path. Each must take the request only."""
    return {
        route.path: route.endpoint
        for route in routes.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ()) and "{" not in route.path
    }


class DirectMiddleware:
    """Pure ASGI; must be the innermost middleware, inside the one for unexpected errors."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self.app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope.get("path", ""))
        if endpoint is None or scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except FleetError as error:
            response = errors.refusal(error)
        except (ClientGone, ClientDisconnect):
            response = errors.nobody_reads()
        await response(scope, receive, send)
