"""Resident memory of a process and its descendants, in bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
INTERVAL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """`resident` is in bytes."""

    pid: int
    parent: int
    resident: int


@dataclass(slots=True)
class Peak:
    """The largest value seen, in bytes; 0 before any."""

    most: int = 0


def tree_bytes(pid: int, processes: Iterable[ProcessMemory]) -> int:
    """Resident bytes of `pid` and its descendants; shared pages count for each process."""
    children: dict[int, list[int]] = defaultdict(list)
    resident: dict[int, int] = {}
    for process in processes:
        children[process.parent].append(process.pid)
        resident[process.pid] = process.resident
    total, left, seen = 0, [pid], set[int]()
    while left:
        current = left.pop()
        if current not in seen:
            seen.add(current)
            total += resident.get(current, 0)
            left += children[current]
    return total


def processes() -> list[ProcessMemory]:
    """All processes of the machine, from /proc (Linux) or `ps` (elsewhere)."""
    return _from_proc() if (PROC / "self" / "stat").exists() else _from_ps()


@asynccontextmanager
async def watched(pid: int | None, peak: Peak) -> AsyncIterator[None]:
    """During the block, raise `peak` to the memory of the process, sampled four times a second."""
    if pid is None:
        yield
        return
    stop = asyncio.Event()

    async def watch() -> None:
        while True:
            found = await asyncio.to_thread(processes)
            peak.most = max(peak.most, tree_bytes(pid, found))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL_SECONDS)
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        try:
            yield
        finally:
            stop.set()


def _from_proc() -> list[ProcessMemory]:
    page = os.sysconf("SC_PAGE_SIZE")
    found: list[ProcessMemory] = []
    for path in PROC.iterdir():
        if not path.name.isdecimal():
            continue
        try:
            stat = (path / "stat").read_text()
        except OSError:  # the process has ended
            continue
        # The name in parentheses may hold spaces: proc_pid_stat(5), fields 4 (ppid), 24 (rss).
        fields = stat.rpartition(")")[2].split()
        found.append(ProcessMemory(int(path.name), int(fields[1]), int(fields[21]) * page))
    return found


def _from_ps() -> list[ProcessMemory]:
    command = ["ps", "-A", "-o", "pid=,ppid=,rss="]
    listed = subprocess.run(  # noqa: S603  (fixed arguments, no shell)
        command, capture_output=True, text=True, timeout=10, check=False
    ).stdout
    rows = (line.split() for line in listed.splitlines())
    return [ProcessMemory(int(pid), int(parent), int(kib) * 1024) for pid, parent, kib in rows]
