"""Ends every process that a test run started once the run itself has ended or was killed.

A pytest plugin. The run marks its environment, which children inherit whatever session they lead;
a process outside the run waits for the end of a pipe, which the kernel closes with the run.
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
"""Environment variable; each run has another value."""
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
        """End the processes that are left, and the guardian."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(2 * ENDS_WITHIN)


def pytest_configure(config: pytest.Config) -> None:
    """Guard the run."""
    config.add_cleanup(Guardian().close)


def marked(mark: str) -> list[psutil.Process]:
    """Running processes of a run: those started with its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, a zombie, or another user's
            continue
    return found


def kill(mark: str) -> None:
    """Kill until none is left: one may start another while it is being killed."""
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
