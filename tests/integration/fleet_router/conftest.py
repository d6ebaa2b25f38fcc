"""A real router process with stub model servers on loopback sockets."""

from __future__ import annotations

import http.client
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.ports import free_port
from support.waiting import until

STUB = Path(__file__).parents[2] / "support" / "stub_server.py"


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until `url` responds."""

    def responds() -> bool:
        assert process.poll() is None, "the process ended"
        try:
            httpx.get(url)
        except httpx.RemoteProtocolError:
            return True  # TLS
        except httpx.TransportError:
            return False
        return True

    until(responds)


@contextmanager
def running(command: list[str], url: str, env: dict[str, str] | None = None) -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **(env or {})}, stderr=subprocess.PIPE
    )
    threading.Thread(target=_drain, args=(process,), daemon=True).start()
    try:
        wait_for(url, process)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _drain(process: Any) -> None:
    process.lines = []
    for line in process.stderr:
        process.lines.append(line.decode())
    process.stderr.close()


@dataclass
class Stub:
    """A stub model server; `seen` returns the state of a request."""

    port: int
    process: Any

    def seen(self, identifier: str) -> dict[str, Any]:
        return dict(httpx.get(f"http://127.0.0.1:{self.port}/_seen/{identifier}").json())

    def await_state(self, identifier: str, state: str) -> None:
        """Wait until a request has this state."""
        until(
            lambda: self.seen(identifier).get("state") == state,
            state=lambda: self.seen(identifier),
        )

    def await_body(self, identifier: str) -> None:
        """Wait until it has read the whole request."""
        until(lambda: "sha256" in self.seen(identifier), state=lambda: self.seen(identifier))

    def step(self, identifier: str) -> None:
        """Send the next piece of a stream whose plan has `step`."""
        httpx.post(f"http://127.0.0.1:{self.port}/_step/{identifier}").raise_for_status()


@dataclass
class Fleet:
    """A router process and its routes file."""

    port: int
    process: Any
    routes: Path
    metrics_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def await_line(self, text: str) -> str:
        """Wait for a log line with `text` and return it."""
        until(
            lambda: any(text in line for line in list(self.process.lines)),
            state=lambda: self.process.lines,
        )
        return next(str(line) for line in list(self.process.lines) if text in line)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples with this name and these labels."""
        exposed = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        families = text_string_to_metric_families(exposed)
        samples = [sample for family in families for sample in family.samples]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    def await_metric(self, name: str, value: float, **labels: str) -> None:
        """Wait for a metric to have a value."""
        until(
            lambda: self.metric(name, **labels) == value,
            state=lambda: f"{name} is {self.metric(name, **labels)}, not {value}",
        )

    @contextmanager
    def sending(self, path: str, **content: Any) -> Iterator[None]:
        """A client that has sent a request, with the arguments of `httpx.Request`, and disconnects
        at the end of the block without reading a response.
        """
        request = httpx.Request("POST", self.url + path, **content)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, request.read(), dict(request.headers))
        yield
        connection.close()

    def chat(
        self, model: str = "acme/chat", plan: dict[str, Any] | None = None, **body: Any
    ) -> Any:
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            json={"messages": [], "model": model, **body},
            headers=planned(plan),
        )


def planned(plan: dict[str, Any] | None, identifier: str = "") -> dict[str, str]:
    return {"x-plan": json.dumps(plan or {}), "x-id": identifier}


def model(name: str, task: str, *ports: int, **spec: Any) -> dict[str, Any]:
    endpoints = [
        {"name": f"{name.split('/')[-1]}-{n}", "url": f"http://127.0.0.1:{port}"}
        for n, port in enumerate(ports)
    ]
    return {"spec": {"model": name, "task": task, **spec}, "endpoints": endpoints}


@contextmanager
def stub_server(name: str, task: str = "chat", port: int | None = None) -> Iterator[Stub]:
    port = port or free_port()
    url = f"http://127.0.0.1:{port}/v1/models"
    with running([str(STUB), str(port), name, task], url) as process:
        yield Stub(port, process)


@contextmanager
def router(
    folder: Path, models: list[Any] | None, env: dict[str, str] | None = None
) -> Iterator[Fleet]:
    port = free_port()
    routes = folder / f"routes-{uuid.uuid4().hex}.json"
    if models is not None:
        routes.write_text(json.dumps({"models": models}))
    command = ["-m", "fleet_router", "--routes", str(routes), "--port", str(port)]
    metrics_port = port
    if env and "KEYS_FILE" in env:  # the metrics need no key on a port of their own
        metrics_port = free_port()
        env = {**env, "METRICS_PORT": str(metrics_port)}
    with running(command, f"http://127.0.0.1:{port}/livez", env) as process:
        yield Fleet(port, process, routes, metrics_port)


class RawHandler(socketserver.StreamRequestHandler):
    """Sends the exact bytes of the header `x-raw`, then closes the connection.

    The header is a JSON list: a string is sent, a pair of a string and a number is repeated, a
    float is a pause in seconds.
    """

    def handle(self) -> None:
        while True:
            head = {}
            if not self.rfile.readline():
                return
            while (line := self.rfile.readline().strip()) != b"":
                name, _, value = line.partition(b": ")
                head[name.lower()] = value
            self.rfile.read(int(head.get(b"content-length", b"0")))
            for piece in json.loads(head.get(b"x-raw", b"[]")):
                if isinstance(piece, float):
                    time.sleep(piece)
                elif isinstance(piece, list):
                    self.wfile.write(piece[0].encode() * piece[1])
                else:
                    self.wfile.write(piece.encode())
            if head.get(b"x-keep") != b"1":
                return


@pytest.fixture(scope="session")
def raw_port() -> Iterator[int]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), RawHandler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def stub() -> Iterator[Stub]:
    with stub_server("acme/chat") as one:
        yield one


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, stub: Stub, raw_port: int) -> Iterator[Fleet]:
    dead = free_port()
    models = [
        model("acme/chat", "chat", stub.port, aliases=["chat", "gpt-4o"]),
        model("acme/raw", "chat", raw_port),
        model("acme/dead", "chat", dead),
        model("acme/half-dead", "chat", dead, stub.port),
        model("acme/small", "chat", stub.port, limits={"maxBodyBytes": 1000}),
        model("acme/embed", "embedding", stub.port, dimensions=384),
        model("acme/speech", "speech", stub.port, limits={"maxAudioBytes": 400_000_000}),
    ]
    with router(tmp_path_factory.mktemp("router"), models, {"HOLD_SECONDS": "1"}) as one:
        yield one


@pytest.fixture(scope="session")
def start_stub() -> Callable[..., Any]:
    return stub_server


@pytest.fixture(scope="session")
def start_router() -> Callable[..., Any]:
    return router


@pytest.fixture(scope="session")
def entry() -> Callable[..., dict[str, Any]]:
    return model


@pytest.fixture(scope="session")
def headers() -> Callable[..., dict[str, str]]:
    return planned
