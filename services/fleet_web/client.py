"""What is known of a request's client at any moment, without waiting for it.

`protocol` puts one into the scope of every request; ASGI alone tells of a client that left only to
a task that waits for it, and such a task for each request costs more than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope

KEY = "modelfleet.client"


class Client:
    """The client of one request. `cycle` is uvicorn's state of the request, until it is answered:
    it holds the scope, and so this."""

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._leave: Callable[[], None] | None = None
        self._gone = False

    @property
    def sent_all(self) -> bool:
        """Whether nothing of the body is still to come."""
        return self._cycle is None or not self._cycle.more_body

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called once when the client leaves, at once if it has; None forgets it."""
        self._leave = call
        if self._gone and call is not None:
            call()

    def listen(self) -> None:
        """Have the connection read on, now that the body has been taken: the end of one that is
        not read is not seen."""
        if self._cycle is not None:
            self._cycle.flow.resume_reading()

    def answered(self) -> None:
        """The whole answer was given. Called by `protocol`."""
        self._cycle = None

    def left(self) -> None:
        """The connection is gone. Called by `protocol`, for every request not yet answered: uvicorn
        itself tells only the last of several, and the others would write to what is closed."""
        cycle, self._cycle, self._gone = self._cycle, None, True
        cycle.disconnected = True
        cycle.message_event.set()
        if self._leave is not None:
            self._leave()


def client_of(scope: Scope) -> Client:
    """The client of a request that came through `protocol`."""
    return cast(Client, scope[KEY])


def has_sent_all(scope: Scope) -> bool:
    """Whether the whole body is known to have arrived."""
    client = scope.get(KEY)
    return client is not None and client.sent_all
