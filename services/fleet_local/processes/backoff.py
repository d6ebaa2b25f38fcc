"""How long to wait before a process that went down is started again. Pure; called by `service`."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
STEADY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`failures` counts the times in a row the process went down before it was steady."""

    failures: int = 0

    @property
    def seconds(self) -> float:
        """0.5 s after the first failure, twice as long after each more, at most 30 s."""
        return min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(max(self.failures - 1, 0), 16))

    def after(self, ready_seconds: float) -> Backoff:
        """The next one, after a process that was ready for `ready_seconds` (0 if it never was)."""
        return Backoff(1 if ready_seconds >= STEADY_SECONDS else self.failures + 1)
