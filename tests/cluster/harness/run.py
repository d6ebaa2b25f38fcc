"""One run of the test cluster: its folder, its lock and the mark that its processes carry.

The mark is an environment variable, so that `leftovers` finds the processes of a killed run
without trusting process ids that may have been given to somebody else since.
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


def sweeping() -> Path:
    """The lock held while leftovers are looked for."""
    return runs_root().with_suffix(".lock")


class Run:
    """A folder with a lock held for as long as this process lives."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)
        self.folder = runs_root() / self.name
        # Not while another run sweeps: it must not find the folder before the lock is held.
        with exclusive(sweeping()):
            self.folder.mkdir(parents=True)
            self._lock: IO[str] | None = try_hold(self.folder / "lock")

    @property
    def environ(self) -> dict[str, str]:
        """The environment for the run's processes."""
        return {**os.environ, MARK: str(self.folder)}

    @property
    def cgroup(self) -> str:
        """Name of the control group, in every hierarchy, that holds the node's pods."""
        return CGROUP_PREFIX + self.name

    def path(self, *parts: str) -> Path:
        """A path in the run's folder; its parent folder exists."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Remove the folder; MODELFLEET_TEST_KEEP=FOLDER first copies the logs there."""
        if keep := os.environ.get("MODELFLEET_TEST_KEEP"):
            for name in ("log", "node/pods"):
                if (self.folder / name).exists():
                    shutil.copytree(self.folder / name, Path(keep, self.name, name))
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
