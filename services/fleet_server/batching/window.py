"""Decides how long the first request of a batch waits for more requests to batch.

The device is idle during the wait, so the configured time is an upper bound. Requests arrive in
bursts after the responses of a pass, so a wait ends once a quarter of the window passes without an
arrival. After several waits without an arrival, as with a single client, most waits are skipped.
"""

from __future__ import annotations

QUIET_SHARE = 0.25
"""Share of the window without an arrival that ends it."""
MAX_FRUITLESS = 4
"""Successive waits without an arrival after which waits are skipped."""
MAX_SKIPPED = 64
"""Batches formed without a wait before one is tried again."""


class BatchWindow:
    """At most `seconds` from the first arrival; all times are from one monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fruitless = 0
        self._skipped = 0

    def opens(self) -> bool:
        """Whether the next batch waits."""
        if self._seconds <= 0:
            return False
        if self._fruitless < MAX_FRUITLESS:
            return True
        self._skipped += 1
        if self._skipped < MAX_SKIPPED:
            return False
        self._skipped = 0
        return True

    def left(self, first: float, last: float, now: float) -> float:
        """Seconds to wait from `now`, given the arrival times of the first and the last waiting
        request; zero or less when the window is over."""
        return min(first + self._seconds, last + self._seconds * QUIET_SHARE) - now

    def closed(self, arrivals: int) -> None:
        """Record the end of a wait during which `arrivals` requests came."""
        self._fruitless = 0 if arrivals else self._fruitless + 1
