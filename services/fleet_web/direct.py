"""FastAPI with a way past its routing for the busiest paths; routing costs 0.2 ms per request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_web.errors import ErrorMiddleware

Handler = Callable[[Request], Awaitable[Response]]


class DirectAPI(FastAPI):
    """Passes POST requests to `direct_paths` to another ASGI app, and handles HEAD as GET.

    The same paths should be routes as well, so that other methods are refused with a 405.
    """

    direct_paths: Collection[str] = frozenset()
    _direct_app: ASGIApp

    def bypass(
        self, paths: Collection[str], app: ASGIApp, middleware: Sequence[Middleware]
    ) -> None:
        """Serve POSTs to `paths` with `app` inside `middleware`, outermost first; errors become
        the same responses as on routes."""
        app = ErrorMiddleware(app)
        # In reverse, because each wraps the one before.
        for each in reversed(middleware):
            app = each.cls(app, *each.args, **each.kwargs)
        self.direct_paths, self._direct_app = paths, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] in self.direct_paths
        ):
            scope["app"] = self  # as Starlette does: handlers find the app's state there
            await self._direct_app(scope, receive, send)
        else:
            if scope["type"] == "http" and scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # uvicorn, which has the original, sends no body
            await super().__call__(scope, receive, send)


class Handlers:
    """An ASGI app that calls the handler of a request's path."""

    def __init__(self, by_path: Mapping[str, Handler]) -> None:
        self.by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.by_path[scope["path"]](Request(scope, receive, send))
        await response(scope, receive, send)


def post_handlers(routes: APIRouter) -> dict[str, Handler]:
    """The handlers of POST routes without path parameters, by path. Each must take the request
    only."""
    return {
        route.path: route.endpoint
        for route in routes.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ()) and "{" not in route.path
    }
