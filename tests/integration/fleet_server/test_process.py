"""The server as a process: custom handlers, drain on SIGTERM, reasons of failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support.ports import free_port
from support.waiting import until

HANDLER = '''
import threading, time
from fleet_server.protocols import Finish, Prompt, Step

class Slow:
    """Generates `word ` sixty times, one token at a time, slowly."""
    context_length = 1000
    max_concurrent = 4
    supports = frozenset()
    device = "cpu"

    def __init__(self, spec, folder, threads):
        self.cancelled = []

    def prompt(self, messages, images):
        return Prompt(5, None)

    def submit(self, prompt, sampling, emit):
        cancelled = threading.Event()
        def run():
            for number in range(sampling.max_tokens):
                if cancelled.wait(0.02):
                    return
                emit(Step([number % 128]))
            emit(Step((), Finish.STOP))
        threading.Thread(target=run, daemon=True).start()
        return type("Running", (), {"cancel": lambda self: cancelled.set()})()

    def decode(self, token_ids):
        return "".join("word " for _ in token_ids)

    def close(self):
        pass

class Broken(Slow):
    def __init__(self, spec, folder, threads):
        raise RuntimeError("the file is torn")

class NoChat:
    def __init__(self, spec, folder, threads):
        pass
'''


@dataclass
class Process:
    port: int
    child: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> None:
        def is_ready() -> bool:
            assert self.child.poll() is None, self.lines
            try:
                return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        until(is_ready, state=lambda: self.lines)

    def ended(self) -> int:
        """Its exit status, once all that it wrote has been read."""
        status = self.child.wait(180)
        assert self.reader is not None
        self.reader.join(180)
        return status

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `python -m fleet_server` with handlers from a file."""
    (tmp_path / "my_handlers.py").write_text(HANDLER)
    started: list[Process] = []

    def run(
        handler: str | None = "my_handlers.Slow", environ: Any = None, **fields: Any
    ) -> Process:
        spec = ModelSpec.model_validate({"model": "slow", "handler": handler} | fields)
        port = free_port()
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        child = subprocess.Popen(
            [sys.executable, "-m", "fleet_server", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": path, "AUTO_DOWNLOAD_MODELS": "0",
                 "MODELS_DIR": str(tmp_path), **encode(spec), **(environ or {})},
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        process = Process(port, child)
        assert child.stderr is not None
        stderr = child.stderr
        process.reader = threading.Thread(target=lambda: process.lines.extend(stderr))
        process.reader.start()
        started.append(process)
        return process

    yield run
    for process in started:
        process.child.kill()
        process.ended()
        assert process.child.stderr is not None
        process.child.stderr.close()


def body(max_tokens: int, *, stream: bool) -> dict[str, Any]:
    return {
        "model": "slow", "stream": stream, "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": "x"}],
    }  # fmt: skip


def test_sigterm_drains_streams(start: Callable[..., Process]) -> None:
    process = start()
    process.ready()
    url = f"{process.url}/v1/chat/completions"
    with (
        httpx.Client() as client,
        client.stream("POST", url, json=body(60, stream=True)) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        process.child.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert sum('"word ' in line for line in rest) >= 50
    assert process.ended() == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(process.url)


def test_the_drain_is_bounded(start: Callable[..., Process]) -> None:
    process = start(environ={"DRAIN_TIMEOUT": "1"}, limits={"maxNewTokens": 100_000},
                    contextLength=10)  # fmt: skip
    process.ready()
    url = f"{process.url}/v1/chat/completions"
    with (
        httpx.Client() as client,
        client.stream("POST", url, json=body(900, stream=True)) as answer,
    ):
        next(answer.iter_lines())
        process.child.send_signal(signal.SIGTERM)
        assert process.ended() == 0


def test_a_load_error_exits_with_a_reason(
    start: Callable[..., Process],
) -> None:
    for handler, words in (
        ("my_handlers.Broken", "the file is torn"),
        ("my_handlers.NoChat", "ChatModel"),
        ("my_handlers.Missing", "Missing"),
        ("no_such_module.Thing", "no_such_module"),
    ):
        process = start(handler)
        assert process.ended() == 3
        last = process.events()[-1]
        assert last["event"] == "load_failed"
        assert words in last["message"]


def test_missing_weights_have_a_hint(start: Callable[..., Process]) -> None:
    process = start(None, source="hf://org/missing@main")
    assert process.ended() == 3
    assert "modelfleet pull" in "".join(process.lines)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"MODELFLEET_SPEC": "{"}, "MODELFLEET_SPEC"),
        ({"MAX_QUEUE_SIZE": "many"}, "MAX_QUEUE_SIZE"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"READ_TIMEOUT": "soon"}, "READ_TIMEOUT"),
        ({"DRAIN_TIMEOUT": "x"}, "DRAIN_TIMEOUT"),
        ({"MODELFLEET_THREADS": "two"}, "MODELFLEET_THREADS"),
        ({"ENABLE_METRICS": "maybe"}, "ENABLE_METRICS"),
    ],
)
def test_invalid_settings_are_named(
    start: Callable[..., Process], environ: dict[str, str], words: str
) -> None:
    process = start(environ=environ)
    assert process.ended() == 2
    assert words in "".join(process.lines)
    assert "Traceback" not in "".join(process.lines)
