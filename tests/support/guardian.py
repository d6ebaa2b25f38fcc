"""A pytest plugin that kills all processes of a test run when the run ends or is killed.

The run sets an environment variable, which child processes inherit, also those in their own
session. A process outside the run reads from a pipe, which the kernel closes when the run ends, and
then kills every process with that variable.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import pytest

MARK = "MODELFLEET_TEST_SESSION"
"""Environment variable with a different value for each run."""
ENDS_WITHIN = 10.0


class Guardian:
    """Marks the environment of this process and starts the process that watches it."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        environ = {name: text for name, text in os.environ.items() if name != MARK}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, self.mark],
            stdin=subprocess.PIPE, env=environ, start_new_session=True,
        )  # fmt: skip
        os.environ[MARK] = self.mark

    def close(self) -> None:
        """Kill the remaining processes and wait for the watching process to end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(2 * ENDS_WITHIN)


def pytest_configure(config: pytest.Config) -> None:
    """Start the guardian for this run."""
    config.add_cleanup(Guardian().close)


def marked(mark: str) -> list[psutil.Process]:
    """Running processes with the mark of a run in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # it has ended, is a zombie, or belongs to another user
            continue
    return found


def kill(mark: str) -> None:
    """Kill until none is left: a process may start another one before it is killed."""
    deadline = time.monotonic() + ENDS_WITHIN
    while (processes := marked(mark)) and time.monotonic() < deadline:
        for process in processes:
            try:
                process.kill()
            except psutil.Error:
                continue
        time.sleep(0.02)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill(sys.argv[1])
