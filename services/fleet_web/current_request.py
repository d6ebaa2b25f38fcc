"""The id of the current request; its own module, since processes without a web app log as well."""

from __future__ import annotations

from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Id of the current request, or "" outside of one."""
    return CURRENT.get()
