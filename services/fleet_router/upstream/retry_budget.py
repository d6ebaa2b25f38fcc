"""Bounds the retries of a model, so that they cannot make an overload worse.

Only requests that a server may have processed count; another server after a refused connection
costs nothing.
"""

from __future__ import annotations

RATIO = 0.2
"""Retries earned by each request."""
MAX_RETRIES = 20.0


class RetryBudget:
    """A token bucket of retries for one model, full at first."""

    def __init__(self) -> None:
        self._left = MAX_RETRIES

    def earn(self) -> None:
        """Add the share of one request."""
        self._left = min(MAX_RETRIES, self._left + RATIO)

    def spend(self) -> bool:
        """Take one retry; False if none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
