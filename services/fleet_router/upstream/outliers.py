"""Outlier detection: ejects servers that failed, and gives new servers a slow start.

Each ejection of a server lasts twice as long as the one before. Afterwards one request at a time
probes it, and the first success ends the ejection. A new server among others starts with a small
share of the load, which grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from fleet_router.routing.table import Endpoint

FAILURES = 3
"""Consecutive failures that eject; a refused connection ejects at once."""
FIRST_SECONDS = 1.0
"""Length of the first ejection."""
MAX_SECONDS = 30.0
"""A server that has recovered is used again within this time."""
SLOW_START_SECONDS = 10.0
MIN_SHARE = 0.1


@dataclass(slots=True)
class _State:
    since: float
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    """When its ejection ends; 0 if it is not ejected."""
    probing: bool = False
    warm: bool = False


class Outliers:
    """The state of every server. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._states: dict[Endpoint, _State] = {}
        self._clock = clock

    def add(self, endpoints: Collection[Endpoint]) -> None:
        """Add the servers of a model, except those that are known. A single one gets no slow start:
        no other server could take the rest of the load."""
        now = self._clock()
        for endpoint in endpoints:
            if endpoint not in self._states:
                self._states[endpoint] = _State(now, warm=len(endpoints) == 1)

    def forget(self, endpoints: Iterable[Endpoint]) -> None:
        """Drop the state of these servers."""
        for endpoint in endpoints:
            self._states.pop(endpoint, None)

    def usable(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """The endpoints that are not ejected; all of them if every one is."""
        now = self._clock()
        usable = [each for each in endpoints if self._is_usable(self._states.get(each), now)]
        return usable or endpoints

    def share(self, endpoint: Endpoint) -> float:
        """The fraction of a full share of the load: 0.1 for a new server, rising to 1."""
        state = self._states.get(endpoint)
        if state is None or state.warm:
            return 1.0
        share = (self._clock() - state.since) / SLOW_START_SECONDS
        if share >= 1:
            state.warm = True
            return 1.0
        return max(MIN_SHARE, share)

    def started(self, endpoint: Endpoint) -> None:
        """An attempt starts; after an ejection it is the only one until it ends."""
        state = self._states.get(endpoint)
        if state is not None and state.until:
            state.probing = True

    def succeeded(self, endpoint: Endpoint) -> None:
        """The server responded."""
        state = self._states.get(endpoint)
        if state is not None and (state.failures or state.ejections):
            state.failures = state.ejections = 0
            state.until = 0.0
            state.probing = False

    def ended(self, endpoint: Endpoint) -> None:
        """The attempt is over; keeps failures and ejections as they are."""
        state = self._states.get(endpoint)
        if state is not None:
            state.probing = False

    def failed(self, endpoint: Endpoint, *, at_once: bool = False) -> bool:
        """The server could not be reached (`at_once`), closed the connection or sent nothing.
        Returns whether this ejects it."""
        state = self._states.get(endpoint)
        if state is None:
            return False
        state.probing = False
        state.failures += FAILURES if at_once else 1
        # Failures of requests that were in flight at the ejection must not extend it.
        if state.failures < FAILURES or self._clock() < state.until:
            return False
        state.until = self._clock() + min(MAX_SECONDS, FIRST_SECONDS * 2.0**state.ejections)
        # Bounded, because the power of two would overflow a float after many ejections.
        state.ejections = min(state.ejections + 1, 10)
        return True

    @staticmethod
    def _is_usable(state: _State | None, now: float) -> bool:
        if state is None or not state.until:
            return True
        return now >= state.until and not state.probing
