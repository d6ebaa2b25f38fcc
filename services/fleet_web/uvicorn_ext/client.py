"""A request's client, from uvicorn's state of the request: no task has to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_web.client import Client


class ConnectionClient(Client):
    """`cycle` is uvicorn's RequestResponseCycle."""

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._callback: Callable[[], object] | None = None
        self._left = False

    @property
    def sent_all(self) -> bool:
        return self._cycle is None or not self._cycle.more_body

    def on_disconnect(self, callback: Callable[[], object] | None) -> None:
        self._callback = callback
        if self._left and callback is not None:
            callback()

    def watch(self) -> None:
        # The end of a connection is seen only while it is being read.
        if self._cycle is not None:
            self._cycle.flow.resume_reading()

    def response_completed(self) -> None:
        """Drop the cycle, whose scope holds this object: a cycle of references would stay until
        the garbage collector runs."""
        self._cycle = None

    def connection_lost(self) -> None:
        """Mark the request as disconnected. uvicorn does so only for the last of several pipelined
        requests; the others would write to a closed transport."""
        cycle, self._cycle, self._left = self._cycle, None, True
        cycle.disconnected = True
        cycle.message_event.set()
        if self._callback is not None:
            self._callback()
