"""A program of a run, in the background with its log in the run's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.run import Run

STOP_SECONDS = 30.0
"""The API server needs many seconds to leave after SIGTERM."""


class Died(Exception):
    """A program ended, or was not ready in time; the message has the end of its log."""


class Process:
    """One started program."""

    def __init__(self, run: Run, name: str, command: Sequence[str | Path]) -> None:
        self.name = name
        self.log = run.path("log", f"{name}.log")
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*_dying_with_us(), *map(str, command)],
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
        """Whether it has not ended."""
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout: float = 60.0) -> None:
        """Return once `ready` says so. Raises Died when the program ends or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise Died(f"{self.name} ended with status {self._popen.returncode}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise Died(f"{self.name} was not ready after {timeout:.0f} s\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, size: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def stop(self) -> None:
        """Ask it to end, wait, and kill it if it does not."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()
        self._popen.wait()


def _dying_with_us() -> list[str]:
    """A wrapper that has the kernel kill the program when pytest is killed."""
    if sys.platform != "linux" or not shutil.which("setpriv"):
        return []
    return ["setpriv", "--pdeathsig", "KILL"]
