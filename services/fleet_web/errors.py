"""Turns exceptions into responses of the shape of their path (fleet_contract.error_shapes).

The text of an unexpected exception is logged and never sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.error_shapes import error_body
from fleet_contract.errors import (
    AdapterNotFound,
    BadRequest,
    FleetError,
    InternalError,
    MethodNotAllowed,
    NotReady,
    RouteNotFound,
)
from fleet_contract.names import HEADER_ABSENT
from fleet_web.request_body import memory

CLIENT_CLOSED_REQUEST = 499
"""Status for the logs where the client disconnected first; nginx uses the same."""

logger = logging.getLogger(__name__)


class HeadTooLarge(FleetError):
    """The head of a request exceeds its bound."""

    status: ClassVar[int] = 431
    type = "invalid_request_error"
    default_code = "headers_too_large"


def error_response(error: FleetError, path: str = "") -> JSONResponse:
    """The error as a response at `path`, with `Retry-After` in whole seconds and `retry-after-ms`
    where the error has a `retry_after`."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(max(1, round(error.retry_after * 1000)))
    if isinstance(error, AdapterNotFound):
        headers[HEADER_ABSENT] = "adapter"
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (408, 413):
        headers["connection"] = "close"
    return JSONResponse(error_body(error, path), status_code=error.status, headers=headers)


def status_of(error: BaseException) -> int:
    """The status of the response to an exception, or of its log line."""
    if isinstance(error, ClientDisconnect):
        return CLIENT_CLOSED_REQUEST
    return error.status if isinstance(error, FleetError) else InternalError.status


def from_validation(error: ValidationError, body: Any) -> BadRequest:
    """The first invalid field of `body` as a 400 with `param`, such as `stop[0]`. Of the errors of
    a union's branches the one with the longest path is reported."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    field = errors[0]["loc"][:1]
    of_field = [each for each in errors if each["loc"][:1] == field]
    first = max(of_field, key=lambda each: len(each["loc"]))
    path = _path(first["loc"], body, missing=first["type"] == "missing")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return BadRequest(f"Missing required parameter: {path!r}.", param=path, code="missing")
    text = f"Invalid value for {path!r}: {message}." if path else f"Invalid body: {message}."
    return BadRequest(text.replace("..", "."), param=path or None, code="invalid_value")


def _path(loc: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """Pydantic's `loc` as a path in `body`, without the names of union branches, which `loc`
    contains but the body does not."""
    path = ""
    for number, part in enumerate(loc):
        if isinstance(part, int):
            path += f"[{part}]"
            body = body[part] if isinstance(body, list) else None
        elif isinstance(body, dict) and (part in body or (missing and number + 1 == len(loc))):
            path += f".{part}" if path else part
            body = body.get(part)
    return path


class ErrorMiddleware:
    """Turns every exception into a response and logs failures; pure ASGI.

    Must be the innermost middleware: its responses pass those that log them and add headers. At
    the end of a request it releases the memory of its body.
    Starlette's own handler for `Exception` runs outside of all middlewares. After the start of a
    response the exception is raised again, which closes the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            # Of a request that outlasts the drain timeout. Without a response uvicorn would send a
            # 500 in plain text, which routers do not send to another server.
            if not started:
                stopping = NotReady("The server is stopping; please try again.", retry_after=1)
                await error_response(stopping, scope["path"])(scope, receive, watched)
            raise
        except Exception as error:
            response = _logged_response(error, scope["path"])
            if not started:
                await response(scope, receive, send)
            elif not isinstance(error, ClientDisconnect):
                raise
        finally:
            memory.release(scope)


def _logged_response(error: Exception, path: str) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if isinstance(error, FleetError):
        if error.status >= 500:
            # Other failures name their reason; only a 500 needs the traceback of its cause.
            cause = error.__cause__ if error.status == InternalError.status else None
            fields = {"error": error.message}
            logger.warning("request_failed", exc_info=cause, extra={"fields": fields})
        return error_response(error, path)
    logger.error("unexpected error on %s", path[:200], exc_info=error)
    unexpected = InternalError("An unexpected error occurred; the server has logged it.")
    return error_response(unexpected, path)


def install(app: FastAPI) -> None:
    """Give `app` the handler for Starlette's errors and, as its innermost, the middleware."""
    app.user_middleware.append(Middleware(ErrorMiddleware))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            missing = RouteNotFound(f"There is no {request.method} {request.url.path} here.")
            return error_response(missing, request.url.path)
        if error.status_code == 405:
            response = error_response(
                MethodNotAllowed(f"{request.url.path} does not accept {request.method}."),
                request.url.path,
            )
            response.headers.update(error.headers or {})
            return response
        return error_response(BadRequest(str(error.detail)), request.url.path)
