"""Bounds the bytes of all request bodies, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

from fleet_contract.errors import QueueFull

MAX_MEMORY_BYTES = 512 * 1024 * 1024
DISK_BYTES = 1024 * 1024 * 1024
"""Bound for uploads that wait for a server."""
SHARE = 0.4
"""Share of the container's memory for bodies."""
CGROUP = Path("/sys/fs/cgroup")


class ByteBudget:
    """A number of bytes that bodies share."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def acquire(self, size: int) -> None:
        """Reserve bytes. Raises QueueFull if too few are left."""
        if size > self._left:
            raise QueueFull("Request bodies use up the memory of the router.", retry_after=1)
        self._left -= size

    def try_acquire(self, size: int) -> bool:
        """Reserve bytes; False if too few are left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def release(self, size: int) -> None:
        """Return reserved bytes."""
        self._left += size


def memory_limit(cgroup: Path = CGROUP) -> int:
    """Bytes for bodies in memory: 512 MiB, or 40 % of the container's memory if that is less.

    Formats: docs.kernel.org/admin-guide/cgroup-v2.html (memory.max: bytes or "max") and cgroup v1's
    memory.limit_in_bytes.
    """
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(MAX_MEMORY_BYTES, int(int((cgroup / name).read_text()) * SHARE))
        except (OSError, ValueError):
            continue
    return MAX_MEMORY_BYTES
