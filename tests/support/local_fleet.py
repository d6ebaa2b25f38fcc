"""`modelfleet up` as a child process of a test, as a user starts it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from support.ports import free_port

MODELFLEET = Path(sys.executable).with_name("modelfleet")
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
START_SECONDS = 900
"""The first start downloads the weights."""
STOP_SECONDS = 180
READY = "The fleet is ready at"
SETTINGS = frozenset(
    {"MODELS", "MODEL_DEVICE", "HOST", "PORT", "LOG_FORMAT", "LOG_LEVEL", "AUTO_DOWNLOAD_MODELS"}
)
"""What the person who runs the tests may have set for their own fleet."""


class Fleet:
    """A running `modelfleet up`: its address, what it printed, and its processes."""

    def __init__(
        self, arguments: list[str], port: int, folder: Path, environ: dict[str, str]
    ) -> None:
        self.folder = folder
        self.port = port
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._said: queue.Queue[str | None] = queue.Queue()
        # A run of these tests under nohup must not hand its deafness down.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.process = subprocess.Popen(
            [MODELFLEET, "up", *arguments, "--port", str(self.port)],
            cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        signal.signal(signal.SIGHUP, before)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def wait_for(self, text: str, seconds: float) -> str:
        """The first line from now on that holds `text`; fails when the fleet ends before it."""
        deadline = time.monotonic() + seconds
        while (line := self._said.get(timeout=max(0.1, deadline - time.monotonic()))) is not None:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"`modelfleet up` ended without {text!r}:\n" + self.output)

    @property
    def output(self) -> str:
        if self.process.poll() is not None:
            self._reader.join(STOP_SECONDS)
        while not self._said.empty():
            if (line := self._said.get()) is not None:
                self.lines.append(line)
        return "\n".join(self.lines)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def server(self, model: str) -> psutil.Process:
        """The process that serves `model`."""
        for child in self.children():
            if f'"model":"{model}"' in child.environ().get("MODELFLEET_SPEC", ""):
                return child
        raise LookupError(model)

    def router(self) -> psutil.Process:
        return next(child for child in self.children() if "fleet_router" in child.cmdline())

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Signal it and wait; its exit status. Fails when it or a child outlives the time."""
        family = self.children() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
        assert left_of(family) == []
        return status

    def close(self) -> None:
        """End what a failing test left, by force."""
        if self.process.poll() is None:
            for child in self.children():
                child.kill()
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def left_of(family: list[psutil.Process]) -> list[psutil.Process]:
    """Processes that still run after some seconds; a zombie has ended."""
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    return [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def running_fleet(
    models: Path, folder: Path, *arguments: str, port: int | None = None, **variables: str
) -> Iterator[Fleet]:
    """`modelfleet up` in `folder`, with the weights in `models`; not yet ready.

    The block must end the fleet itself if how it ends matters.
    """
    kept = {name: text for name, text in os.environ.items() if name not in SETTINGS}
    # Not a share of what other tests leave available: all models start at once unless a test
    # sets a budget.
    environ = {**kept, "MODELS_DIR": str(models), "MEMORY_BUDGET": "64Gi", **variables}
    fleet = Fleet(list(arguments), port or free_port(), folder, environ)
    try:
        yield fleet
        fleet.end()
    finally:
        fleet.close()
