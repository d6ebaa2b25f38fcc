"""The id of the request being answered; read by `logs` too in processes that have no web layer."""

from __future__ import annotations

from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Id of the request being answered, or an empty string outside of one."""
    return CURRENT.get()
