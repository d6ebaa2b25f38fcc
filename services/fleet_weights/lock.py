"""The lock that lets one process at a time fetch or convert the weights of a spec."""

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
    """Hold the lock of the spec's weights, which the kernel releases when the process ends.

    `suffix` names a conversion. While waiting it raises Stopped when the tracker is stopped, and
    WeightsError after six hours.
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
                    f"Another process has locked the weights of {spec.model} for hours.",
                    f"End the process that locks {path}.",
                ) from None
    try:
        yield
    finally:
        lock.release()
