"""Fixtures of the real fleet: `modelfleet up` on a free port, one for the session."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from support.ports import free_port
from support.required import require_program

MODELFLEET = Path(sys.executable).with_name("modelfleet")
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
START_SECONDS = 900
"""The first start downloads the weights."""
STOP_SECONDS = 60
READY = "The fleet is ready at"


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
        pytest.fail(f"`modelfleet up` ended without {text!r}:\n" + self.output)

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


@pytest.fixture(scope="session")
def gone() -> Callable[[list[psutil.Process]], bool]:
    """Whether processes end within seconds."""
    return lambda family: left_of(family) == []


Start = Callable[..., AbstractContextManager[Fleet]]


@pytest.fixture(scope="session")
def start_fleet(demo_weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """`with start_fleet(*arguments, VARIABLE=value, ...) as fleet`, without waiting until it is
    ready.

    The block must end the fleet itself if how it ends matters.
    """

    models = demo_weights(EMBEDDING).parent

    @contextmanager
    def start(
        *arguments: str, port: int | None = None, folder: Path | None = None, **variables: str
    ) -> Iterator[Fleet]:
        kept = {name: text for name, text in os.environ.items() if name not in SETTINGS}
        environ = {**kept, "MODELS_DIR": str(models), **variables}
        folder = folder or tmp_path_factory.mktemp("fleet")
        fleet = Fleet(list(arguments), port or free_port(), folder, environ)
        try:
            yield fleet
            fleet.end()
        finally:
            fleet.close()

    return start


SETTINGS = frozenset(
    {"MODELS", "MODEL_DEVICE", "HOST", "PORT", "LOG_FORMAT", "LOG_LEVEL", "AUTO_DOWNLOAD_MODELS"}
)
"""What the person who runs the tests may have set for their own fleet."""


@pytest.fixture(scope="session")
def fleet(start_fleet: Start) -> Iterator[Fleet]:
    """The demo: chat, embeddings and speech."""
    with start_fleet() as started:
        started.wait_for(READY, START_SECONDS)
        yield started
        assert started.end() == 0


@pytest.fixture
async def http(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fleet.base_url, timeout=120, trust_env=False) as made:
        yield made


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{fleet.base_url}/v1", api_key="none", max_retries=0, timeout=120,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as made:  # fmt: skip
        yield made


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A recording of a sentence, spoken by espeak-ng in the given language."""
    require_program("espeak-ng")
    folder = tmp_path_factory.mktemp("speech")

    def say(text: str, voice: str = "en-us") -> Path:
        path = folder / f"{abs(hash((text, voice)))}.wav"
        if not path.exists():
            command = ["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text]
            subprocess.run(command, check=True, timeout=60)
        return path

    return say


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """`await until(condition, seconds)` waits for an async condition and returns its true value."""

    async def wait(condition: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := await condition()):  # noqa: ASYNC110  (no event of ours)
                await asyncio.sleep(0.05)
        return found

    return wait


@pytest.fixture
def metric(http: httpx.AsyncClient) -> Callable[..., Any]:
    """`await metric(name, **labels)`: the sum of the matching series of the router's /metrics.

    Without a matching series it fails, or returns `none` if given: a series with labels exists only
    after its first event.
    """

    async def read(name: str, none: float | None = None, **labels: str) -> float:
        text = (await http.get("/metrics")).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(f"{name}{{") and all(label in line for label in wanted)
        ]
        if not found and none is not None:
            return none
        assert found, f"no series {name} {labels}"
        return sum(found)

    return read
