"""Creates the parent control group of the node's pods in all hierarchies."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
CPU_SHARE = 8
"""CPU time that all pods together get beside one busy process of other tests. By default a group
gets as much as one process, so that pods would starve beside several test suites: servers would
take minutes to start, and probes would time out."""
_CPU_DEFAULTS = {"cpu.shares": 1024, "cpu.weight": 100}
"""Files of version 1 and 2, with the weight of a process."""


def create(name: str) -> None:
    """Create the group; `leftovers` removes it."""
    unified = (_ROOT / "cgroup.controllers").exists()
    for hierarchy in [_ROOT] if unified else sorted(filter(Path.is_dir, _ROOT.iterdir())):
        if hierarchy.is_symlink():
            continue
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # In version 1, a cpuset without CPUs and memory nodes accepts no process.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not unified and (hierarchy / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
        for setting, default in _CPU_DEFAULTS.items():
            if (group / setting).exists():
                (group / setting).write_text(str(CPU_SHARE * default))
