"""Peaks of resident memory and spooled files of the fleet's processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

MIB = 1024 * 1024
WEIGHTS = (".bin", ".gguf", ".safetensors")
RESET_PEAK = "5"
"""Written to clear_refs, it sets the peak to the present size (proc_pid_clear_refs(5))."""


class Peaks:
    """`with Peaks(processes) as peaks:` measures how much each grew within the block.

    Without /proc only the size at the end is compared.
    """

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = processes
        self._before: dict[str, int] = {}
        self.growth: dict[str, float] = {}

    def __enter__(self) -> Self:
        for name, process in self._processes.items():
            reset_peak(process.pid)
            self._before[name] = process.memory_info().rss + dropped(process)
        return self

    def __exit__(self, *_: object) -> None:
        for name, process in self._processes.items():
            if process.is_running():
                self.growth[name] = (peak(process) - self._before[name]) / MIB

    def complaints(self, most: float) -> list[str]:
        """Processes that ended, or grew by more than `most` MiB."""
        ended = [name for name in self._processes if name not in self.growth]
        grown = {name: grew for name, grew in self.growth.items() if grew > most}
        return [f"{name} ended" for name in ended] + [
            f"{name} grew by {grew:.0f} MiB" for name, grew in grown.items()
        ]


def dropped(process: psutil.Process) -> int:
    """Bytes of mapped weight files that are not resident: a server drops them when it is idle, and
    reading them again is no growth."""
    if not psutil.LINUX:
        return 0
    return sum(
        each.size - each.rss for each in process.memory_maps() if each.path.endswith(WEIGHTS)
    )


def reset_peak(pid: int) -> None:
    """Set the peak of a process to its present size, where /proc allows it."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return


def peak(process: psutil.Process) -> int:
    """The most bytes that were resident since the last reset."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return int(process.memory_info().rss)
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def spooled(process: psutil.Process) -> int:
    """Bytes on disk of the deleted files that a process has open."""
    total = 0
    for link in Path(f"/proc/{process.pid}/fd").glob("*"):
        try:
            if link.readlink().name.endswith("(deleted)"):
                total += os.stat(link).st_blocks * 512
        except OSError:  # closed meanwhile
            continue
    return total
