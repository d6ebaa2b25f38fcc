"""Timeouts, retries and minimum speed of downloads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A download that receives less than `window_bytes` in `window_seconds` is aborted and retried;
    an attempt that receives more restarts the count of `attempts`."""

    connect_seconds: float = 15
    read_seconds: float = 30
    attempts: int = 5
    first_pause: float = 1
    longest_pause: float = 30
    window_seconds: float = 60
    window_bytes: int = 64 * 1024

    def pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds before the next attempt: exponential, or the server's `retry_after` if longer."""
        own = self.first_pause * 2 ** (failures - 1)
        return float(min(max(own, retry_after or 0), self.longest_pause))


RETRY_POLICY = RetryPolicy()
