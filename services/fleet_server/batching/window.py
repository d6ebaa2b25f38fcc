"""How long the first request of a batch waits for company: pure decisions, made by the batcher.

A device that waits computes nothing, so the time asked for is an upper bound. Company comes in
bursts, when the answers of one pass are out: a wait ends once nothing has come for a quarter of the
window. Where waits in a row brought nobody, as with a single client, only one in many is tried.
"""

from __future__ import annotations

QUIET_SHARE = 0.25
"""Part of the window without an arrival that ends it."""
FRUITLESS = 4
"""Waits in a row without company after which they are left out."""
LEFT_OUT = 64
"""Batches formed at once before a wait is tried again."""


class Window:
    """At most `seconds` from the first arrival; times are of one monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._fruitless = 0
        self._left_out = 0

    def opens(self) -> bool:
        """Whether the next batch waits at all."""
        if self._seconds <= 0:
            return False
        if self._fruitless < FRUITLESS:
            return True
        self._left_out += 1
        if self._left_out < LEFT_OUT:
            return False
        self._left_out = 0
        return True

    def left(self, first: float, last: float, now: float) -> float:
        """Seconds to wait from `now`, where the first waiting request came at `first` and the last
        at `last`; not positive when the window is over."""
        return min(first + self._seconds, last + self._seconds * QUIET_SHARE) - now

    def closed(self, company: int) -> None:
        """A wait is over that began with some requests and brought `company` more."""
        self._fruitless = 0 if company else self._fruitless + 1
