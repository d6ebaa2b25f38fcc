"""A background process of a run, with a log in the run's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.run import Run
from support.waiting import SECONDS, until

STOP_SECONDS = 30.0
"""The API server takes many seconds to stop after SIGTERM."""


class ProcessFailed(Exception):
    """A process ended, or was not ready in time; the message has the end of its log."""


class Process:
    """A started process."""

    def __init__(self, run: Run, name: str, command: Sequence[str | Path]) -> None:
        self.name = name
        self.log = run.path("log", f"{name}.log")
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*_parent_death_command(), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=run.environ,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the program itself."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it is still running."""
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout: float = SECONDS) -> None:
        """Wait until `ready()` is true. Raises ProcessFailed on exit or timeout."""

        def holds() -> bool:
            if ready():
                return True
            if not self.running:
                raise ProcessFailed(
                    f"{self.name} ended with status {self._popen.returncode}\n{self.tail()}"
                )
            return False

        try:
            until(holds, timeout, every=0.05)
        except TimeoutError:
            message = f"{self.name} was not ready after {timeout:.0f} s\n{self.tail()}"
            raise ProcessFailed(message) from None

    def tail(self, size: int = 4000) -> str:
        """The end of the log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def stop(self) -> None:
        """Send SIGTERM and wait; send SIGKILL if it does not end in time."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self._popen.kill()
        self._popen.wait()


def _parent_death_command() -> list[str]:
    """A wrapper that makes the kernel kill the program when pytest is killed."""
    if sys.platform != "linux" or not shutil.which("setpriv"):
        return []
    return ["setpriv", "--pdeathsig", "KILL"]
