"""Bounds the connections that are idle between two requests."""

from __future__ import annotations

import resource
from typing import Generic, TypeVar

MAX_IDLE = 8192

C = TypeVar("C")


def idle_limit() -> int:
    """MAX_IDLE, or half of the files that this process may open if that is less: running requests
    need the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_IDLE if soft == resource.RLIM_INFINITY else min(MAX_IDLE, soft // 2)


class IdleConnections(Generic[C]):
    """At most `limit` connections, the longest idle first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle: dict[C, None] = {}

    def add(self, connection: C) -> C | None:
        """Add a connection; returns the one that has to be closed for it, if any."""
        self._idle[connection] = None
        if len(self._idle) <= self._limit:
            return None
        longest = next(iter(self._idle))
        del self._idle[longest]
        return longest

    def remove(self, connection: C) -> None:
        """Remove a connection, if it is idle."""
        self._idle.pop(connection, None)
