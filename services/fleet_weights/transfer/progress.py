"""Sums up the progress of concurrent downloads and reports it at intervals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fleet_weights.errors import Stopped

Progress = Callable[[int, int | None], None]
"""Called with bytes done and total bytes, which is None while a size is unknown."""

INTERVAL_SECONDS = 0.1


class ProgressTracker:
    """Thread-safe. `stop` ends the downloads at their next chunk."""

    def __init__(self, progress: Progress | None, stop: threading.Event | None = None) -> None:
        self._progress = progress
        self._stop = stop
        self._failed = False
        self._done: dict[str, int] = {}
        self._total: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._reported_at = 0.0

    def expect(self, name: str, total: int | None = None) -> None:
        """Add a download, so that the total is known before all have started."""
        with self._lock:
            self._done.setdefault(name, 0)
            self._total[name] = total

    def update(self, name: str, done: int, total: int | None) -> None:
        """Set the progress of a download. Raises Stopped after `stop` or `fail`."""
        self.check()
        with self._lock:
            self._done[name] = done
            self._total[name] = total
            now = time.monotonic()
            if now - self._reported_at < INTERVAL_SECONDS and done != total:
                return
            self._reported_at = now
            self._report()

    def check(self) -> None:
        """Raises Stopped after `stop` or `fail`."""
        if self._failed or (self._stop is not None and self._stop.is_set()):
            raise Stopped

    def fail(self) -> None:
        """End the other downloads, because one failed."""
        self._failed = True

    @property
    def done(self) -> int:
        return sum(self._done.values())

    @property
    def total(self) -> int | None:
        totals = list(self._total.values())
        known = [total for total in totals if total is not None]
        return sum(known) if totals and len(known) == len(totals) else None

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.done, self.total)
