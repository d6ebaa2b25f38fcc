"""One error shape on every route: turns exceptions into OpenAI's `{"error": {...}}`.

Both web apps call `install`; whatever a client sent, it reads a FleetError. The text of an
unexpected exception is logged and never sent.
"""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fleet_contract.errors import (
    BadRequest,
    FleetError,
    InternalError,
    MethodNotAllowed,
    RouteNotFound,
)
from fleet_web.disconnect import ClientGone
from fleet_web.logs import event

NOBODY_READS = 499
"""Status logged for a client that left; nginx uses the same."""

logger = logging.getLogger(__name__)


def response(error: FleetError) -> JSONResponse:
    """The error as a response; `Retry-After` in whole seconds and `retry-after-ms` beside it."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(max(1, round(error.retry_after * 1000)))
    if error.status in (408, 413):
        headers["connection"] = "close"
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


def from_validation(error: ValidationError | RequestValidationError) -> BadRequest:
    """The first complaint of pydantic as a 400 with `param`, such as `messages[0].role`."""
    first = error.errors()[0]
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "body" and "[" not in part:
            path += f".{part}" if path else part
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return BadRequest(f"Missing required parameter: {path!r}.", param=path, code="missing")
    text = f"Invalid value for {path!r}: {message}." if path else f"Invalid body: {message}."
    return BadRequest(text.replace("..", "."), param=path or None, code="invalid_value")


def install(app: FastAPI) -> None:
    """Register the handlers on `app`."""

    @app.exception_handler(FleetError)
    async def fleet_error(request: Request, error: FleetError) -> JSONResponse:
        if error.status >= 500:
            event(logger, "request_failed", level=logging.WARNING, error=error.message)
        return response(error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(from_validation(error))

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
        return Response(status_code=NOBODY_READS)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("unexpected error on %s", request.url.path, exc_info=error)
        return response(InternalError("The server had an error while answering this request."))
