"""What is known about the request being answered; `proxy` fills it, `access` reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from fleet_contract.names import HEADER_QUEUE_MS
from fleet_router.connection import Head

KEY = "modelfleet.exchange"


@dataclass(slots=True)
class Exchange:
    """`path` is an allow-listed path or "", `model` a configured id or "": never the client's own
    words. `status` is set where no response tells it: 499 for a client that left, 502 for an answer
    that was cut off. `begun` is true once a response has started.

    `attempts` counts what was sent to servers, `repeats` what was sent after an attempt that may
    have been worked on. `fallback_for` is the model asked for when another answered. `held_ms` is
    how long the request waited here for a server, `cold` whether it did, `queue_ms` how long the
    server says it waited there.
    """

    path: str = ""
    model: str = ""
    endpoint: str = ""
    status: int = 0
    attempts: int = 0
    repeats: int = 0
    fallback_for: str = ""
    held_ms: float = 0.0
    queue_ms: float = 0.0
    cold: bool = False
    begun: bool = False

    def served(self, head: Head) -> None:
        """Note what the server said about its own queue."""
        try:
            self.queue_ms = float(head.get(HEADER_QUEUE_MS.encode()) or 0)
        except ValueError:
            self.queue_ms = 0.0


def of(scope: Scope) -> Exchange:
    """The exchange of a request that came through `access`."""
    return cast(Exchange, scope[KEY])
