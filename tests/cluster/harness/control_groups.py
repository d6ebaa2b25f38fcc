"""Creates the parent control group of the node's pods in all hierarchies."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


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
