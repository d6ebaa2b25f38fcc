"""CPU seconds of several processes in a period."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


class CpuShares:
    """Counts from its creation."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before = {name: used(one) for name, one in self._processes.items()}

    def seconds(self) -> dict[str, float]:
        """CPU seconds since the creation, user and system, by name."""
        return {name: used(one) - self._before[name] for name, one in self._processes.items()}


def used(process: psutil.Process) -> float:
    """All CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)
