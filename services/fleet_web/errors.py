"""One error shape on every route: turns exceptions into OpenAI's `{"error": {...}}`.

Both web apps call `install`; whatever a client sent, it reads a FleetError. The text of an
unexpected exception is logged and never sent.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_contract.errors import (
    BadRequest,
    FleetError,
    InternalError,
    MethodNotAllowed,
    RouteNotFound,
)
from fleet_web.disconnect import ClientGone
from fleet_web.lingering import LingeringAnswer

NOBODY_READS = 499
"""Status logged for a client that left; nginx uses the same."""

logger = logging.getLogger(__name__)


def response(error: FleetError) -> JSONResponse:
    """The error as a response; `Retry-After` in whole seconds and `retry-after-ms` beside it."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(max(1, round(error.retry_after * 1000)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (408, 413):
        headers["connection"] = "close"
    kind = LingeringAnswer if error.status == 413 else JSONResponse
    return kind(error.body(), status_code=error.status, headers=headers)


def refusal(error: FleetError) -> JSONResponse:
    """As `response`; a failure of ours is logged."""
    if error.status >= 500:
        logger.warning(
            "request_failed", exc_info=error.__cause__, extra={"fields": {"error": error.message}}
        )
    return response(error)


def nobody_reads() -> Response:
    """What is left to answer a client that has left."""
    return Response(status_code=NOBODY_READS)


def from_validation(error: ValidationError, body: Any) -> BadRequest:
    """What pydantic says of the first field at fault in `body` as a 400 with `param`, such as
    `stop[0]`: of the complaints of a union's branches the one that goes deepest."""
    all_of_them = error.errors(include_url=False, include_context=False, include_input=False)
    field = all_of_them[0]["loc"][:1]
    of_field = [each for each in all_of_them if each["loc"][:1] == field]
    first = max(of_field, key=lambda each: len(each["loc"]))
    path = _path(first["loc"], body, missing=first["type"] == "missing")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return BadRequest(f"Missing required parameter: {path!r}.", param=path, code="missing")
    text = f"Invalid value for {path!r}: {message}." if path else f"Invalid body: {message}."
    return BadRequest(text.replace("..", "."), param=path or None, code="invalid_value")


def _path(loc: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """Where in `body` pydantic's `loc` is. It names the branches of unions too, which the body
    knows nothing of: they are left out."""
    path = ""
    for number, part in enumerate(loc):
        if isinstance(part, int):
            path += f"[{part}]"
            body = body[part] if isinstance(body, list) else None
        elif isinstance(body, dict) and (part in body or (missing and number + 1 == len(loc))):
            path += f".{part}" if path else part
            body = body.get(part)
    return path


class UnexpectedMiddleware:
    """Answers an exception nobody expected with a 500 and logs it; pure ASGI.

    Innermost, so that the answer passes the middlewares that count it and give it its id, which
    Starlette's own handler for `Exception` stands outside of. Once an answer has begun, the
    exception is passed on, which closes the connection.
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
        except Exception as error:
            logger.error("unexpected error on %s", scope["path"][:200], exc_info=error)
            if started:
                raise
            refused = response(InternalError("The server had an error answering this request."))
            await refused(scope, receive, send)


def install(app: FastAPI) -> None:
    """Register the handlers on `app`, before it gets any other middleware."""
    app.add_middleware(UnexpectedMiddleware)

    @app.exception_handler(FleetError)
    async def fleet_error(request: Request, error: FleetError) -> JSONResponse:
        return refusal(error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return response(RouteNotFound(f"There is no {request.method} {request.url.path} here."))
        if error.status_code == 405:
            refused = response(
                MethodNotAllowed(f"{request.url.path} does not take {request.method}.")
            )
            refused.headers.update(error.headers or {})
            return refused
        return response(BadRequest(str(error.detail)))

    @app.exception_handler(ClientGone)
    @app.exception_handler(ClientDisconnect)
    async def client_gone(request: Request, error: Exception) -> Response:
        return nobody_reads()
