"""Builds the programs of the clusters in the background while other suites run.

Go needs many CPU minutes for Kubernetes, and the other suites leave a core idle most of the time. A
test that needs a program waits for its file lock, as it does for a concurrent test run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness.binaries import MODULES, program
from harness.paths import TOOLS

_ENDS_WITHIN = 60.0


class BackgroundBuild:
    """A build in the background; its output goes to that of pytest."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "harness.background_build"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TOOLS.parent)},
            start_new_session=True,
        )

    def stop(self) -> None:
        """Terminate the build and its compiler processes."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGTERM)
        self._popen.wait(_ENDS_WITHIN)


def main() -> None:
    """Build all programs that are not cached, in the order in which tests need them."""
    for module in MODULES:
        for name in module.packages:
            program(name)


if __name__ == "__main__":
    main()
