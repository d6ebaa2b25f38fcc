"""The control group, in every hierarchy of this machine, under which the node's pods live."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def create(name: str) -> None:
    """Make the group; `leftovers` removes it."""
    unified = (_ROOT / "cgroup.controllers").exists()
    for hierarchy in [_ROOT] if unified else sorted(filter(Path.is_dir, _ROOT.iterdir())):
        if hierarchy.is_symlink():
            continue
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # Version 1: a cpuset without processors and memory takes no process.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not unified and (hierarchy / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
