"""A thread that computes masks ahead of their use."""

from __future__ import annotations

import queue
import threading
from typing import Protocol


class Computes(Protocol):
    """What is computed ahead."""

    def compute(self) -> None:
        """Compute; never raises."""


class Ahead:
    """Thread-safe. `submit` never blocks; at most one call for each running sequence waits."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Computes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="masks", daemon=True)
        self._thread.start()

    def submit(self, work: Computes) -> bool:
        """Whether `work` will be computed; False once closed."""
        with self._lock:
            if not self._closed:
                self._work.put(work)
            return not self._closed

    def close(self) -> None:
        """End the thread after the work that waits."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work.compute()
            del work  # until the next one comes
