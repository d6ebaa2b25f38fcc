"""One process at a time fetches the weights of one spec; the others wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.store import Store
from fleet_weights.transfer.progress import ProgressTracker

LONGEST_SECONDS = 6 * 3600
POLL_SECONDS = 0.25


@contextmanager
def locked(
    spec: ModelSpec, store: Store, tracker: ProgressTracker, suffix: str = ""
) -> Iterator[None]:
    """Holds the lock of the spec's weights; the system frees it when a process dies.

    `suffix` tells weights converted from them apart. Raises Stopped while waiting when told to,
    WeightsError when the other takes hours.
    """
    path = store.lock(spec, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    waited = 0.0
    while True:
        tracker.check()
        try:
            lock.acquire(timeout=POLL_SECONDS, poll_interval=POLL_SECONDS / 2)
            break
        except Timeout:
            waited += POLL_SECONDS
            if waited > LONGEST_SECONDS:
                raise WeightsError(
                    f"Another process has been at the weights of {spec.model} for too long.",
                    f"End it; it holds {path}.",
                ) from None
    try:
        yield
    finally:
        lock.release()
