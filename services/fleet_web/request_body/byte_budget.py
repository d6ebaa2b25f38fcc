"""Bounds the bytes of all request bodies, of all together and of one caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.errors import FleetError, QueueFull, TooLarge

MAX_MEMORY_BYTES = 512 * 1024 * 1024
ROUTER_SHARE = 0.4
"""Share of the container's memory for bodies: a router holds little else."""
SERVER_SHARE = 0.2
CALLER_SHARE = 0.25
"""Share of a budget for one caller with several requests."""
CGROUP = Path("/sys/fs/cgroup")


def _memory_full(message: str) -> FleetError:
    return QueueFull(f"Too many large requests at once: {message}.", retry_after=1)


@dataclass(slots=True)
class _Caller:
    size: int = 0
    reservations: int = 0


class ByteBudget:
    """A number of bytes that requests share; `refuse` makes the error when too few are left."""

    def __init__(self, limit: int, refuse: Callable[[str], FleetError] = _memory_full) -> None:
        self.limit = limit
        self.left = limit
        self._refuse = refuse
        self._callers: dict[str, _Caller] = {}

    def reserve(self, caller: str) -> Reservation:
        """An empty reservation of one request of `caller`; must be released."""
        entry = self._callers.get(caller)
        if entry is None:
            entry = self._callers[caller] = _Caller()
        entry.reservations += 1
        return Reservation(self, caller, entry)

    def obstacle(self, entry: _Caller, size: int) -> str:
        """Why a caller gets no further `size` bytes, "" if it does."""
        if size > self.left:
            return f"their bodies use up the {self.limit} bytes for all"
        # A single request may have more, or a large body would never be accepted.
        share = int(self.limit * CALLER_SHARE)
        if entry.reservations > 1 and entry.size + size > share:
            return f"the bodies of one caller may have {share} bytes together"
        return ""

    def refusal(self, obstacle: str) -> FleetError:
        """The error for an obstacle."""
        return self._refuse(obstacle)

    def leave(self, caller: str, entry: _Caller) -> None:
        """Forget a reservation, and the caller with its last one."""
        entry.reservations -= 1
        if not entry.reservations:
            del self._callers[caller]


class Reservation:
    """The bytes of one request."""

    __slots__ = ("_budget", "_caller", "_entry", "_open", "size")

    def __init__(self, budget: ByteBudget, caller: str, entry: _Caller) -> None:
        self._budget, self._caller, self._entry = budget, caller, entry
        self._open = True
        self.size = 0

    def acquire(self, size: int) -> None:
        """Add bytes. Raises the budget's error if too few are left, and TooLarge if the request
        would have more than the whole budget, so that trying again cannot help."""
        if self.size + size > self._budget.limit:
            raise TooLarge(
                f"The request takes more than the {self._budget.limit} bytes that this server has "
                f"for bodies."
            )
        if obstacle := self._budget.obstacle(self._entry, size):
            raise self._budget.refusal(obstacle)
        self._add(size)

    def try_acquire(self, size: int) -> bool:
        """Add bytes; False if too few are left."""
        if self._budget.obstacle(self._entry, size):
            return False
        self._add(size)
        return True

    def free(self, size: int) -> None:
        """Return some of the bytes."""
        self._add(-size)

    def release(self) -> None:
        """Return all bytes and end the reservation; idempotent."""
        if self._open:
            self._open = False
            self._add(-self.size)
            self._budget.leave(self._caller, self._entry)

    def _add(self, size: int) -> None:
        self.size += size
        self._entry.size += size
        self._budget.left -= size


def memory_limit(share: float, cgroup: Path = CGROUP) -> int:
    """Bytes for bodies in memory: 512 MiB, or `share` of the container's memory if that is less.

    Formats: docs.kernel.org/admin-guide/cgroup-v2.html (memory.max: bytes or "max") and cgroup v1's
    memory.limit_in_bytes.
    """
    # "max" is not a number and leads to the default, like a missing file.
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(MAX_MEMORY_BYTES, int(int((cgroup / name).read_text()) * share))
        except (OSError, ValueError):
            continue
    return MAX_MEMORY_BYTES
