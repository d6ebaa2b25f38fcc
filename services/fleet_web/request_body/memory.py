"""The memory of request bodies in a model server: reserved per request, released at its end."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import Scope

from fleet_web.request_body.byte_budget import SERVER_SHARE, ByteBudget, Reservation, memory_limit
from fleet_web.request_body.caller import caller_of

KEY = "modelfleet.body_memory"
"""Where in a request's scope its reservation is."""


def reserve(app: FastAPI, scope: Scope) -> Reservation:
    """The request's reservation, made at the first call."""
    held: Reservation | None = scope.get(KEY)
    if held is None:
        budget = getattr(app.state, "body_memory", None)
        if budget is None:
            budget = app.state.body_memory = ByteBudget(memory_limit(SERVER_SHARE))
        held = scope[KEY] = budget.reserve(caller_of(scope))
    return held


def release(scope: Scope) -> None:
    """Release the request's reservation, if any."""
    held: Reservation | None = scope.get(KEY)
    if held is not None:
        held.release()
