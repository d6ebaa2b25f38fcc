"""Bounds what request bodies may take of the memory. Made by `proxy`, used by `envelope`."""

from __future__ import annotations

from pathlib import Path

from fleet_contract.errors import QueueFull

MOST_BYTES = 512 * 1024 * 1024
DISK_BYTES = 1024 * 1024 * 1024
"""What uploads may take of the disk while they wait for a server."""
SHARE = 0.4
"""Part of the container's memory that bodies may take."""
CGROUP = Path("/sys/fs/cgroup")


class ByteBudget:
    """Bounds the bytes of all bodies that are held at once."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Raises QueueFull when the bound is reached."""
        if size > self._left:
            raise QueueFull("The router holds too many request bodies.", retry_after=1)
        self._left -= size

    def try_take(self, size: int) -> bool:
        """Whether there was room for it."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


def bound(cgroup: Path = CGROUP) -> int:
    """Bytes that bodies may take: 512 MiB, or a part of the container's memory where that is less.

    Formats: docs.kernel.org/admin-guide/cgroup-v2.html (memory.max: bytes or "max") and cgroup v1's
    memory.limit_in_bytes.
    """
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(MOST_BYTES, int(int((cgroup / name).read_text()) * SHARE))
        except (OSError, ValueError):
            continue
    return MOST_BYTES
