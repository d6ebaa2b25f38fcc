"""Finds and removes what killed runs left behind.

Network devices, firewall tables and mounts need no cleanup: they are in namespaces of the run,
which end with its last process.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from harness.locks import exclusive, try_hold
from harness.run import CGROUP_PREFIX, MARK, runs_root, sweep_lock

_CGROUPS = Path("/sys/fs/cgroup")
_WAIT_SECONDS = 60.0


def sweep() -> list[str]:
    """Remove all runs whose process has ended and return their names."""
    swept = []
    with exclusive(sweep_lock()):
        for folder in sorted(runs_root().glob("*")):
            lock = try_hold(folder / "lock")
            if lock is None:
                continue
            with lock:
                remove(folder)
            swept.append(folder.name)
    return swept


def remove(folder: Path, *, keep_folder: bool = False) -> None:
    """Kill the run's processes and pods, then delete its control groups and its folder."""
    groups = list(control_groups(CGROUP_PREFIX + folder.name))
    _kill(lambda: [*marked(folder), *_members(groups)])
    for group in groups:
        for child in sorted(group.rglob("*"), key=lambda path: len(path.parts), reverse=True):
            if child.is_dir():
                _remove_group(child)
        _remove_group(group)
    if not keep_folder:
        shutil.rmtree(folder, ignore_errors=True)


def marked(folder: Path) -> list[psutil.Process]:
    """The processes with the mark of the run in their environment, except this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def control_groups(name: str) -> Iterator[Path]:
    """The run's control group in every hierarchy (version 1) or the unified one (version 2)."""
    if (_CGROUPS / name).is_dir():
        yield _CGROUPS / name
    yield from (path for path in _CGROUPS.glob(f"*/{name}") if path.is_dir())


def _members(groups: list[Path]) -> list[psutil.Process]:
    pids: set[int] = set()
    for group in groups:
        for file in group.rglob("cgroup.procs"):
            try:
                pids.update(map(int, file.read_text().split()))
            except OSError:
                continue
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.Error:
            continue
    return found


def _kill(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill until no new process appears: a shim may start one while it is being killed."""
    while processes := find():
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        _, alive = psutil.wait_procs(processes, timeout=_WAIT_SECONDS)
        if alive:
            raise RuntimeError(f"processes of a killed run do not end: {alive}")


def _remove_group(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return
