"""Model servers and routers as separate processes, with real weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract import catalog, launch
from fleet_contract.spec import ModelSpec
from support.ports import free_port
from support.waiting import until
from traffic import ChatStream, Embeddings, Kind, Transcription, WholeChat

MODELFLEET = Path(sys.executable).with_name("modelfleet")
READY_SECONDS = 300
STOP_SECONDS = 180
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"


class Process:
    """A server or a router with its own port and log file."""

    def __init__(self, kind: str, arguments: list[str], environ: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                [MODELFLEET, kind, *arguments, "--host", "127.0.0.1", "--port", str(self.port)],
                env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Wait until /readyz returns 200; fails if the process exits before."""
        until(self._ready, READY_SECONDS, state=self.log.read_text)

    def _ready(self) -> bool:
        assert self._popen.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=60).status_code == 200
        except httpx.HTTPError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the matching series of its /metrics."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=60).text.splitlines()
        fit = [x for x in lines if x.startswith(f"{name}{{") and all(want in x for want in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in fit)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Wait and return the exit status; negative for a signal."""
        return self._popen.wait(STOP_SECONDS)

    def close(self) -> None:
        """Stop it; kill it if it does not exit."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()


class Routes:
    """The routes file of the routers: the current servers of each model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._servers: dict[str, tuple[ModelSpec, dict[str, Process]]] = {}

    def add(self, spec: ModelSpec, name: str, server: Process) -> None:
        self._servers.setdefault(spec.model, (spec, {}))[1][name] = server
        self._write()

    def remove(self, server: Process) -> None:
        for _, servers in self._servers.values():
            for name in [name for name, one in servers.items() if one is server]:
                del servers[name]
        self._write()

    def _write(self) -> None:
        models = [
            {"spec": spec.to_wire(), "endpoints": [{"name": n, "url": s.url} for n, s in all_]}
            for spec, all_ in ((spec, servers.items()) for spec, servers in self._servers.values())
        ]
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"models": models}))
        os.replace(new, self.path)


class Fleet:
    """The processes started by a test; all are stopped after it."""

    def __init__(self, folder: Path, weights: Callable[[str], Path]) -> None:
        self.routes = Routes(folder / "routes.json")
        self._folder = folder
        self._weights = weights
        self._stack = ExitStack()
        self._count = 0

    def server(self, model: str) -> Process:
        """Start another server of a catalog model; it is added to the routes once it is ready."""
        self._count += 1
        name = f"{model.rpartition('/')[2]}-{self._count}"
        spec = catalog.load()[model]
        environ = {
            "MODELS_DIR": str(self._weights(model).parent), "AUTO_DOWNLOAD_MODELS": "0",
            "DRAIN_TIMEOUT": "50", "MODELFLEET_THREADS": "1", **launch.encode(spec),
        }  # fmt: skip
        started = self._started(Process("server", [], environ, self._folder / f"{name}.log"))
        self.routes.add(spec, name, started)
        return started

    def router(self, **environ: str) -> Process:
        """Start another router with the same routes."""
        self._count += 1
        log = self._folder / f"router-{self._count}.log"
        settings = {"DRAIN_TIMEOUT": "50", **environ}
        return self._started(Process("router", ["--routes", str(self.routes.path)], settings, log))

    def _started(self, process: Process) -> Process:
        self._stack.callback(process.close)
        process.wait_ready()
        return process

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def parts(tmp_path: Path, demo_weights: Callable[[str], Path]) -> Iterator[Fleet]:
    """`parts.server(model)`, `parts.router()`, `parts.routes`."""
    fleet = Fleet(tmp_path, demo_weights)
    yield fleet
    fleet.close()


@pytest.fixture
def kinds(speak: Any) -> Callable[..., list[Kind]]:
    """Kinds of requests for the given models."""
    question = "What is the capital of France?"
    made: dict[str, Callable[[], list[Kind]]] = {
        CHAT: lambda: [ChatStream(CHAT, 16, "Paris"), WholeChat(CHAT, 16, "Paris")],
        EMBEDDING: lambda: [Embeddings(EMBEDDING, 384)],
        SPEECH: lambda: [Transcription(SPEECH, speak(question).read_bytes(), ("capital",))],
    }
    return lambda *models: [kind for model in models for kind in made[model]()]
