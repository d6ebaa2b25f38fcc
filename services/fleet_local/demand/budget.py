"""The memory that the servers of a fleet may take together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fleet_contract.cpus import CGROUP
from fleet_contract.settings import BY_NAME
from fleet_local.errors import StartError

MEMORY_INFO = Path("/proc/meminfo")
SETTING = "MEMORY_BUDGET"
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", ""),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
     "total_"),
)  # fmt: skip
"""Limit, usage and statistics, and the prefix of the statistics of a whole hierarchy: v2, v1."""


def of(environ: Mapping[str, str], info: Path = MEMORY_INFO, cgroup: Path = CGROUP) -> int:
    """MEMORY_BUDGET in bytes: a size, or a share of the memory that is available now (of all memory
    where the system does not report it). Raises StartError for another value."""
    try:
        wanted: float = BY_NAME[SETTING].read(environ)
    except ValueError as error:
        raise StartError(f"{error}.") from error
    if wanted >= 1:
        return int(wanted)
    free = available(info, cgroup)
    if free is None:  # macOS reports no such figure that includes what it can free
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(wanted * free)


def available(info: Path = MEMORY_INFO, cgroup: Path = CGROUP) -> int | None:
    """Bytes that processes can still take; None where the system does not report it.

    Formats: proc_meminfo(5) (`MemAvailable: N kB`) and docs.kernel.org/admin-guide/cgroup-v2.html
    (memory.max: bytes or "max"; memory.current: bytes; memory.stat: `<name> <bytes>` lines), and
    cgroup v1's limit, usage and statistics.
    """
    found = []
    try:
        lines = info.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        pass
    for most, used, statistics, prefix in CGROUP_FILES:
        try:
            limit = int((cgroup / most).read_text())
            taken = int((cgroup / used).read_text())
        except (OSError, ValueError):
            continue
        found.append(max(0, limit - taken + _cached(cgroup / statistics, prefix, taken)))
    return min(found, default=None)


def _cached(statistics: Path, prefix: str, taken: int) -> int:
    """Bytes of `taken` that are copies of files: most of it after a download. The kernel drops them
    when memory is needed. 0 if they are not reported."""
    try:
        lines = statistics.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(maxsplit=1) for line in lines if " " in line)
        sizes = [int(fields[f"{prefix}{name}"]) for name in ("inactive_file", "active_file")]
    except (OSError, ValueError, KeyError):
        return 0
    return min(taken, sum(sizes))


def text(size: float) -> str:
    """`size` bytes for messages: `1.5 GiB` or `300 MiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
