"""Returns memory that this process does not use to the kernel.

glibc keeps freed memory in its arenas, one for each thread by default, and weight files that were
mapped stay resident although engines compute with a copy in the layout of their kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import re
import resource
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

M_ARENA_MAX = -8
"""From glibc's malloc.h."""
ARENAS = 2
"""Engines' own buffers are large, and mapped each by itself."""
MAPS = Path("/proc/self/smaps")
unmapping = threading.Lock()
"""Held while a model that was ready unmaps weight files. Otherwise their addresses could be used
again, for memory in use, before `release_files` drops the pages there. A model that unmaps them in
a thread of the engine's has `may_unmap` (fleet_server.protocols.memory) instead."""
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)$")


def resident_bytes() -> float:
    """Resident memory of this process in bytes; its peak where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return float(pages * resource.getpagesize())
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)


def family_bytes() -> float:
    """Resident memory of this process and its descendants in bytes: engine vllm runs the model in
    a child. Pages that several of them share count for each."""
    total, waiting, page = resident_bytes(), [os.getpid()], resource.getpagesize()
    while waiting:
        for child in _children(waiting.pop()):
            with contextlib.suppress(OSError):  # the child has ended
                total += page * int(Path(f"/proc/{child}/statm").read_text().split()[1])
            waiting.append(child)
    return total


def _children(process: int) -> list[int]:
    """None where the kernel does not list them (proc_pid_children(5))."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


@dataclass(frozen=True, slots=True)
class Mapping:
    """A range of addresses that maps a part of the file at `path`; `changed` has written pages."""

    start: int
    end: int
    path: str
    changed: bool


def limit_arenas() -> None:
    """Limit the number of malloc's arenas, unless MALLOC_ARENA_MAX is set. For the beginning of a
    process: arenas of running threads stay."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(M_ARENA_MAX, ARENAS)


def freeze_objects() -> None:
    """Exclude the objects of this process, except those that nothing uses, from all later garbage
    collections. For the end of start-up: each collection examines what is not excluded, and a body
    with many values causes dozens of them."""
    gc.collect()
    gc.freeze()


def trim() -> None:
    """Return freed memory of malloc; takes milliseconds."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def release_files(folder: Path, smaps: Path = MAPS) -> int:
    """Drop the resident pages of mapped files below `folder`; their bytes. They are read again from
    the page cache when used. Pages that were written are kept."""
    with unmapping:
        try:
            found = list(mappings(smaps.read_text().splitlines()))
            madvise = ctypes.CDLL(None).madvise
        except (OSError, AttributeError):
            return 0
        root, dropped = f"{folder.resolve()}", 0
        for each in found:
            if each.changed or not (each.path == root or each.path.startswith(f"{root}/")):
                continue
            size = each.end - each.start
            start, length = ctypes.c_void_p(each.start), ctypes.c_size_t(size)
            if madvise(start, length, mmap.MADV_DONTNEED) == 0:
                dropped += size
        return dropped


def mappings(lines: Iterable[str]) -> Iterator[Mapping]:
    """The mapped files of a process, from the lines of /proc/PID/smaps (proc(5))."""
    head: re.Match[str] | None = None
    for line in lines:
        if (found := _HEAD.match(line)) is not None:
            head = found if found[4].startswith("/") else None
        elif head is not None and line.startswith("Anonymous:"):
            changed = int(line.split()[1]) > 0
            yield Mapping(int(head[1], 16), int(head[2], 16), head[4], changed)
            head = None
