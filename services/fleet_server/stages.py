"""The progress of a server's start: seconds of each stage, bytes of a transfer.

Written by the launcher's threads, read on the event loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from fleet_contract.api.models import Progress

WINDOW_SECONDS = 10.0

Clock = Callable[[], float]


class Stages:
    """Seconds per stage; one stage runs at a time."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[str, float] = {}
        self._running: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """End the running stage, if any, and begin another."""
        self.end()
        self._running = (str(name), self._clock())  # orjson takes no enum as a key

    def end(self) -> None:
        """End the running stage."""
        if self._running is not None:
            name, began = self._running
            self._done[name] = self._done.get(name, 0.0) + self._clock() - began
            self._running = None

    @property
    def running(self) -> str:
        """Name of the running stage, or an empty string."""
        return self._running[0] if self._running is not None else ""

    def record(self, name: str, seconds: float) -> None:
        """Record the duration of a stage that was measured elsewhere."""
        self._done[str(name)] = seconds

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, in order of their beginning, the running one included."""
        running = self._running
        known = dict(self._done)
        if running is not None:
            known[running[0]] = known.get(running[0], 0.0) + self._clock() - running[1]
        return known


class Transfer:
    """Bytes of a download or conversion, and its speed in the last `WINDOW_SECONDS`."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self.done = 0
        self.total: int | None = None

    def update(self, done: int, total: int | None) -> None:
        """Set the bytes done so far, those of earlier attempts included."""
        now = self._clock()
        self.done, self.total = done, total
        self._seen.append((now, done))
        while self._seen[0][0] < now - WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        """None before the second update."""
        try:
            (first_at, first), (_, last) = self._seen[0], self._seen[-1]
        except IndexError:  # no update yet
            return None
        elapsed = self._clock() - first_at
        return (last - first) / elapsed if elapsed > 0 and len(self._seen) > 1 else None

    def body(self) -> Progress:
        """`{"done_bytes", "total_bytes", "bytes_per_second", "seconds_left"}`; unknown values are
        None."""
        speed = self.bytes_per_second
        left = None
        if speed and self.total is not None:
            left = round(max(0, self.total - self.done) / speed, 1)
        return {
            "done_bytes": self.done,
            "total_bytes": self.total,
            "bytes_per_second": round(speed) if speed is not None else None,
            "seconds_left": left,
        }
