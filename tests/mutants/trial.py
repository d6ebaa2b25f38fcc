"""Runs tests against a changed copy of the repository, each time in a forked process.

The parent process imports third-party packages once, so that a run takes little more than the
tests themselves; packages of the repository are imported by the forked processes only.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

Outcome = Literal["killed", "survived", "timeout"]
ROOTS = ("services", "operator", "tests", "tests/cluster")
IGNORED = (".git", ".venv", "build", "dist", "models", "run", "__pycache__", ".*_cache")
ARGUMENTS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis",
             # Plugins that are imported already are not rewritten, of which pytest warns.
             "-o", "filterwarnings=ignore")  # fmt: skip
PASSED = 0
NOT_THE_COPY = 100
POLL_SECONDS = 0.02


class Trial:
    """A scratch copy of the repository at `root`, and the tests that are run in it."""

    def __init__(self, root: Path, scratch: Path, tests: Sequence[str]) -> None:
        self._copy = scratch / "copy"
        self._imports = scratch / "imports.json"
        self._output = scratch / "output.txt"
        self._tests = tests
        shutil.copytree(root, self._copy, ignore=shutil.ignore_patterns(*IGNORED), symlinks=True)
        for cached in self._copy.rglob("*.pyc"):
            cached.unlink()

    def prepare(self, seconds: float) -> float:
        """Run the tests unchanged and import what they need; returns how long they take then.

        Raises RuntimeError if they fail.
        """
        if (status := self._fork(seconds, report=True)) == NOT_THE_COPY:
            raise RuntimeError("the tests import packages of another folder")
        if status != PASSED:
            raise RuntimeError(f"the tests fail without a change:\n{self._output.read_text()}")
        for name in json.loads(self._imports.read_text()):
            try:
                importlib.import_module(name)
            except Exception:
                continue
        began = time.monotonic()
        if self._fork(seconds) != PASSED:
            raise RuntimeError(f"the tests fail in the second run:\n{self._output.read_text()}")
        return time.monotonic() - began

    def run(self, path: Path, text: str, seconds: float) -> Outcome:
        """The outcome with `text` in the module at `path`; the module is restored."""
        with _changed(self._copy / path, text):
            status = self._fork(seconds)
        if status == NOT_THE_COPY:
            raise RuntimeError("the tests import packages of another folder")
        if status is None:
            return "timeout"
        return "survived" if status == PASSED else "killed"

    def _fork(self, seconds: float, report: bool = False) -> int | None:
        """The exit status of the tests; None if they took longer than `seconds`."""
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os._exit(self._child(report))
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)  # whichever process is first
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(POLL_SECONDS)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def _child(self, report: bool) -> int:
        """Run the tests in this process; returns pytest's exit status."""
        import pytest

        os.chdir(self._copy)
        sys.dont_write_bytecode = True
        sys.path[:0] = [str(self._copy / root) for root in ROOTS]
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = int(pytest.main([*ARGUMENTS, *self._tests]))
        files = {name: str(getattr(module, "__file__", None) or self._copy)
                 for name, module in list(sys.modules.items())}  # fmt: skip
        if report:
            foreign = [name for name, file in files.items() if "site-packages" in file]
            self._imports.write_text(json.dumps(foreign))
        for name, file in files.items():
            if name.startswith("fleet_") and not file.startswith(str(self._copy)):
                return NOT_THE_COPY
        return status


@contextmanager
def _changed(path: Path, text: str) -> Iterator[None]:
    before = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
