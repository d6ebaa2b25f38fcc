"""Which servers are left out for a while because they failed, and which are eased in.

`attempt` asks before it chooses and reports what became of each attempt. A server that failed is
ejected, longer each time; when its time is over one request at a time tries it, and the first
success brings it back. A fresh server beside others takes its share of the load bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from fleet_router.routing.table import Endpoint

FAILURES = 3
"""Failures in a row that eject; one refused connection does at once."""
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
EASE_SECONDS = 10.0
FIRST_SHARE = 0.1


@dataclass(slots=True)
class _State:
    since: float
    failures: int = 0
    ejections: int = 0
    until: float = 0.0
    trying: bool = False
    eased: bool = False


class Outliers:
    """One for each router process. `clock` is in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._states: dict[Endpoint, _State] = {}
        self._clock = clock

    def retain(self, endpoints: Collection[Endpoint], *, alone: Collection[Endpoint] = ()) -> None:
        """Forget the servers of no route, note the new ones. Those `alone`, the only ones of their
        model, are not eased in: there is nobody to take the rest."""
        now = self._clock()
        for endpoint in [known for known in self._states if known not in endpoints]:
            del self._states[endpoint]
        for endpoint in endpoints:
            if endpoint not in self._states:
                self._states[endpoint] = _State(now, eased=endpoint in alone)

    def usable(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those that are not ejected; all of them when every one is."""
        now = self._clock()
        left = [each for each in endpoints if self._may(self._states.get(each), now)]
        return left or endpoints

    def share(self, endpoint: Endpoint) -> float:
        """The part of a full share of load it may take now: 0.1 when fresh, rising to 1."""
        state = self._states.get(endpoint)
        if state is None or state.eased:
            return 1.0
        grown = (self._clock() - state.since) / EASE_SECONDS
        if grown >= 1:
            state.eased = True
            return 1.0
        return max(FIRST_SHARE, grown)

    def begun(self, endpoint: Endpoint) -> None:
        """An attempt is made; after an ejection it is the only one until it ends."""
        state = self._states.get(endpoint)
        if state is not None and state.until:
            state.trying = True

    def succeeded(self, endpoint: Endpoint) -> None:
        """It answered."""
        state = self._states.get(endpoint)
        if state is not None and (state.failures or state.ejections):
            state.failures = state.ejections = 0
            state.until = 0.0
            state.trying = False

    def ended(self, endpoint: Endpoint) -> None:
        """The attempt ended without telling anything: its client left."""
        state = self._states.get(endpoint)
        if state is not None:
            state.trying = False

    def failed(self, endpoint: Endpoint, *, at_once: bool = False) -> bool:
        """It could not be reached (`at_once`), broke off or stayed silent; whether it is ejected
        for that."""
        state = self._states.get(endpoint)
        if state is None:
            return False
        state.trying = False
        state.failures += FAILURES if at_once else 1
        if state.failures < FAILURES or self._clock() < state.until:
            return False
        state.until = self._clock() + min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**state.ejections)
        state.ejections = min(state.ejections + 1, 10)
        return True

    @staticmethod
    def _may(state: _State | None, now: float) -> bool:
        if state is None or not state.until:
            return True
        return now >= state.until and not state.trying
