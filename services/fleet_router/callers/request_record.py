"""What is known about the request being answered; `proxy` fills it, `access` reports it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from fleet_contract.names import HEADER_QUEUE_MS, HEADER_USAGE
from fleet_router.callers.usage import NOTHING, Tail, Usage, read
from fleet_router.upstream.connection import Head

Headers = list[tuple[bytes, bytes]]

KEY = "modelfleet.record"
USAGE = HEADER_USAGE.encode()
QUEUE_MS = HEADER_QUEUE_MS.encode()


@dataclass(slots=True)
class RequestRecord:
    """`path` is an allow-listed path or "", `model` a configured id or "": never the client's own
    words. `status` is set where no response tells it: 499 for a client that left, 502 for an answer
    that was cut off. `begun` is true once a response has started.

    `attempts` counts what was sent to servers, `repeats` what was sent after an attempt that may
    have been worked on. `fallback_for` is the model asked for when another answered. `held_ms` is
    how long the request waited here for a server, `cold` whether it did, `queue_ms` how long the
    server says it waited there. `key` names the caller's key, `limits` are the headers that tell
    what is left of its limits, `usage` is what the answer used. `first_at` and `last_at` are when
    the first and the last of its `pieces` came, by time.perf_counter.
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
    key: str = ""
    images: int = 0
    usage: Usage = NOTHING
    limits: Headers | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    pieces: int = 0
    begun: bool = False

    def served(self, head: Head) -> None:
        """Note what the server said about its own queue and what it used."""
        if (used := head.get(USAGE)) is not None:
            self.usage = read(used)
        if (waited := head.get(QUEUE_MS)) is not None:
            try:
                self.queue_ms = float(waited)
            except ValueError:
                self.queue_ms = 0.0

    def came(self) -> None:
        """A piece of the answer came."""
        self.last_at = time.perf_counter()
        self.first_at = self.first_at or self.last_at
        self.pieces += 1

    def used(self, tail: Tail) -> None:
        """The answer has ended with `tail`."""
        if self.usage is NOTHING:
            self.usage = tail.usage()


def of(scope: Scope) -> RequestRecord:
    """The record of a request that came through `access`."""
    return cast(RequestRecord, scope[KEY])
