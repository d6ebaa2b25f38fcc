"""The number of CPUs this process may use: its affinity mask, bounded by the cgroup's quota; and
whether they support bfloat16.

In a container with a CPU limit, one thread for each core of the machine would be throttled.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs in the affinity mask or in the cgroup's quota, whichever is less; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = cgroup_quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cgroup_quota(cgroup: Path) -> float | None:
    """CPUs in the quota at the root of the process's cgroup namespace, or None without one.

    Formats: docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max: "quota period" or "max period")
    and cgroup v1's cpu.cfs_quota_us and cpu.cfs_period_us.
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU supports bfloat16 (AVX512-BF16, AMX or AVX-NE-CONVERT), from the kernel's
    list of flags."""
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return bool({"avx512_bf16", "amx_bf16", "avx_ne_convert"} & set(flags.split()))
