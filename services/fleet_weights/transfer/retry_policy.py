"""How long a download waits for what, and how often it tries again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds and counts. A download that brings less than `window_bytes` in `window_seconds` is
    broken off; a try that brings at least as many starts the counting of attempts anew."""

    connect_seconds: float = 15
    read_seconds: float = 30
    attempts: int = 5
    first_pause: float = 1
    longest_pause: float = 30
    window_seconds: float = 60
    window_bytes: int = 64 * 1024

    def pause(self, failures: int, asked: float | None) -> float:
        """Seconds before the next try; `asked` is what the server wants (Retry-After)."""
        own = self.first_pause * 2 ** (failures - 1)
        return float(min(max(own, asked or 0), self.longest_pause))


RETRY_POLICY = RetryPolicy()
