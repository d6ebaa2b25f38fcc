"""A run of the test cluster: its folder, its lock and the mark of its processes.

The mark is an environment variable, so that the processes of a killed run can be found without
process ids, which may have been reused.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import IO

from harness.locks import exclusive, try_hold
from harness.paths import cache_root

MARK = "MODELFLEET_TEST_RUN"
CGROUP_PREFIX = "modelfleet-test-"


def runs_root() -> Path:
    """The folder of all runs."""
    return cache_root() / "runs"


def sweep_lock() -> Path:
    """The lock held while leftovers are removed."""
    return runs_root().with_suffix(".lock")


class Run:
    """A folder with a lock that is held while this process lives."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)
        self.folder = runs_root() / self.name
        # Wait for concurrent sweeps: they must not find the folder before the lock is held.
        with exclusive(sweep_lock()):
            self.folder.mkdir(parents=True)
            self._lock: IO[str] | None = try_hold(self.folder / "lock")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the run's processes."""
        return {**os.environ, MARK: str(self.folder)}

    @property
    def cgroup(self) -> str:
        """Name of the control group, in every hierarchy, with the node's pods."""
        return CGROUP_PREFIX + self.name

    def path(self, *parts: str) -> Path:
        """A path in the run's folder; its parent folder exists."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Remove the folder; first copy the logs to the folder MODELFLEET_TEST_KEEP, if set."""
        if keep := os.environ.get("MODELFLEET_TEST_KEEP"):
            for name in ("log", "node1/pods"):
                if (self.folder / name).exists():
                    shutil.copytree(self.folder / name, Path(keep, self.name, name))
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
