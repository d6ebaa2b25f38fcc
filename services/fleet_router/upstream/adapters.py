"""Which servers lack a LoRA adapter that the spec of their model names.

All servers of a version have the same adapters; they differ while a new version is rolled out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from fleet_router.routing.table import Endpoint

SECONDS = 10.0
"""How long a server that lacked an adapter is not preferred."""


class AbsentAdapters:
    """Remembers the responses of servers. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Endpoint, dict[str, float]] = {}

    def note(self, endpoint: Endpoint, adapter: str) -> None:
        """The server responded that it does not have the adapter."""
        self._until.setdefault(endpoint, {})[adapter] = self._clock() + SECONDS

    def preferred(self, endpoints: Sequence[Endpoint], adapter: str) -> Sequence[Endpoint]:
        """The servers that may have the adapter; all of them if none may."""
        if not adapter or not self._until:
            return endpoints
        now = self._clock()
        left = [one for one in endpoints if self._until.get(one, {}).get(adapter, 0.0) <= now]
        return left or endpoints

    def forget(self, endpoints: Iterable[Endpoint]) -> None:
        """Drop what is known of these servers."""
        for endpoint in endpoints:
            self._until.pop(endpoint, None)
