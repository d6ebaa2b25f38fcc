"""Bounds how much work retries may add, so that they cannot make an overload worse.

`attempt` asks before it sends a request a second time to a server that may compute it; trying
another server after a refused connection costs nothing and is not counted.
"""

from __future__ import annotations

RATIO = 0.2
"""Retries earned by each request."""
MOST = 20.0


class RetryBudget:
    """A bucket of retries for one model, full at first."""

    def __init__(self) -> None:
        self._left = MOST

    def earn(self) -> None:
        """A request came."""
        self._left = min(MOST, self._left + RATIO)

    def spend(self) -> bool:
        """Whether one more retry may be made; counts it if so."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
