"""Builds the programs of the clusters while the tests before them run, for tests/cluster.

Go needs many CPU minutes for Kubernetes, and the suites before leave a core idle most of the time.
A test that needs a program waits for its lock, as it would for another test run's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness.binaries import MODULES, program
from harness.paths import TOOLS

_ENDS_WITHIN = 10.0


class Ahead:
    """The build in the background, with what it prints among what pytest prints."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "harness.ahead"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TOOLS.parent)},
            start_new_session=True,
        )

    def stop(self) -> None:
        """End it and the compiler it runs."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGTERM)
        self._popen.wait(_ENDS_WITHIN)


def main() -> None:
    """Build every program that is not cached yet, in the order the tests ask for them."""
    for module in MODULES:
        for name in module.packages:
            program(name)


if __name__ == "__main__":
    main()
