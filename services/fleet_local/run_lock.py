"""The lock of a fleet's folder, which holds its routes file and logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fleet_local.errors import StartError


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of `folder`. Raises OSError."""
    try:
        with FileLock(folder / "lock").acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which the kernel releases when the process ends.

    Raises StartError if another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise StartError(
            f"Another `modelfleet up` uses {folder.resolve()}.",
            "Stop it first, or choose another port with --port.",
        ) from None
    except OSError as error:
        raise StartError(
            f"Cannot write logs under {folder.parent.resolve()}: {error.strerror}.",
            "Run `modelfleet up` in a folder that you can write to.",
        ) from error
    try:
        yield
    finally:
        lock.release()
