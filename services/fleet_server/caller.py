"""The caller of the current request."""

from __future__ import annotations

from contextvars import ContextVar

from starlette.types import Scope

from fleet_web.request_body.caller import caller_of

_current: ContextVar[str] = ContextVar("caller", default="")


def current_caller() -> str:
    """The caller of the request that this task serves; empty outside of requests."""
    return _current.get()


def set_caller(scope: Scope) -> None:
    """Make the caller of an ASGI request the current one."""
    _current.set(caller_of(scope))
