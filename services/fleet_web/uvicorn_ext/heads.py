"""Bounds the connections that have sent no complete head yet, of all peers and of one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

MAX_HEADS = 1024
PEER_HEADS = MAX_HEADS // 4
GRACE_SECONDS = 1.0
"""Younger connections are never given up: their heads are on their way."""

C = TypeVar("C")


class Heads(Generic[C]):
    """The connections, oldest first. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._since: dict[C, float] = {}
        self._of_peer: dict[str, dict[C, None]] = {}
        self._clock = clock

    def add(self, peer: str, connection: C) -> C | None:
        """Add a connection; returns one that has to be given up for it, if any."""
        now = self._clock()
        self._since[connection] = now
        of_peer = self._of_peer.setdefault(peer, {})
        of_peer[connection] = None
        if len(of_peer) > PEER_HEADS:
            oldest = next(iter(of_peer))
        elif len(self._since) > MAX_HEADS:
            oldest = next(iter(self._since))
        else:
            return None
        return oldest if self._since[oldest] < now - GRACE_SECONDS else None

    def remove(self, peer: str, connection: C) -> None:
        """Remove a connection that was added."""
        del self._since[connection]
        of_peer = self._of_peer[peer]
        del of_peer[connection]
        if not of_peer:
            del self._of_peer[peer]
