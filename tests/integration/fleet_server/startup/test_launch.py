"""A server process that fetches a tiny encoder from a local hub and becomes ready."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from fleet_weights.store import Store
from support.ports import free_port
from support.waiting import until

SPEC = ModelSpec.model_validate(
    {"model": "acme/tiny", "task": "embedding", "source": "hf://acme/tiny", "dtype": "float32"}
)
TOKEN = "hf_not-a-real-token"
DEADLINE_SECONDS = 180

Start = Callable[..., AbstractContextManager["Server"]]


class Hub(FastAPI):
    """Serves a folder as `acme/tiny`; the weights stop half-way until `go` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.go = threading.Event()
        self.authorizations: list[str] = []
        files = {str(file.relative_to(folder)): file for file in folder.rglob("*.*")}

        @self.get("/api/models/acme/tiny/revision/main")
        async def listing(request: Request) -> Response:
            self.authorizations.append(request.headers.get("authorization", ""))
            siblings = [
                {"rfilename": name, "size": file.stat().st_size} for name, file in files.items()
            ]
            return JSONResponse({"sha": "c0ffee", "siblings": siblings})

        @self.get("/acme/tiny/resolve/c0ffee/{name:path}")
        async def file(name: str) -> Response:
            body = files[name].read_bytes()
            if not name.endswith(".safetensors"):
                return Response(body)
            size = {"content-length": str(len(body))}
            return StreamingResponse(self._paused(body), headers=size)

    async def _paused(self, body: bytes) -> AsyncIterator[bytes]:
        half = len(body) // 2
        yield body[:half]
        await asyncio.to_thread(self.go.wait, DEADLINE_SECONDS)
        yield body[half:]


class Server:
    """`modelfleet server` as a process; its log is read when it has ended."""

    def __init__(self, root: Path, environ: dict[str, str], spec: ModelSpec) -> None:
        self.port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        self.log_file = root / "log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fleet_server", "--port", str(self.port)],
                env={**kept, **encode(spec), "MODELS_DIR": str(root / "models"), **environ},
                stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of the readiness probe; (0, {}) while the port is closed."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz")
        except httpx.TransportError:
            assert self.process.poll() is None, self.log_file.read_text()
            return 0, {}
        return answer.status_code, answer.json()

    def wait_for(self, condition: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until `condition` is true of the readiness probe's body and return the body."""
        found: dict[str, Any] = {}

        def is_true() -> bool:
            status, body = self.ready()
            found.clear()
            found.update(body)
            return condition(status, body)

        until(is_true, DEADLINE_SECONDS, state=self.log_file.read_text)
        return found

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @contextmanager
    def run(spec: ModelSpec = SPEC, **environ: str) -> Iterator[Server]:
        server = Server(tmp_path, environ, spec)
        try:
            yield server
        finally:
            server.process.kill()
            server.process.wait()

    return run


@pytest.fixture
def hub(tiny_encoder: Callable[..., Path], listen: Any) -> Iterator[tuple[Hub, str]]:
    app = Hub(tiny_encoder())
    with listen(app) as port:
        yield app, f"http://127.0.0.1:{port}"
        app.go.set()


def half_fetched(status: int, body: dict[str, Any]) -> bool:
    return body.get("status") == "fetching" and body["progress"]["done_bytes"] > 0


def test_fetch_and_start(hub: tuple[Hub, str], start: Start, tmp_path: Path) -> None:
    app, endpoint = hub
    with start(HF_ENDPOINT=endpoint, HF_TOKEN=TOKEN, DOCKER_AUTH_CONFIG=TOKEN) as server:
        body = server.wait_for(half_fetched)
        assert server.ready()[0] == 503
        assert body["progress"]["total_bytes"] > body["progress"]["done_bytes"]
        assert body["model"] == "acme/tiny"
        assert list(body["stages"]) == ["start", "fetch"]
        environment = Path(f"/proc/{server.process.pid}/environ")
        assert not environment.exists() or TOKEN not in environment.read_text()
        refused = httpx.post(
            f"http://127.0.0.1:{server.port}/v1/embeddings",
            json={"model": "acme/tiny", "input": "w1"},
        )
        assert refused.status_code == 503
        assert "fetching" in refused.json()["error"]["message"]
        app.go.set()
        body = server.wait_for(lambda status, body: status == 200)
        assert (body["status"], body["engine"], body["device"]) == ("ready", "openvino", "cpu")
        assert body["progress"] is None
        assert {"start", "fetch", "load", "warm"} <= set(body["stages"])
        metrics = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
        assert 'modelfleet_load_seconds{model="acme/tiny",stage="fetch"}' in metrics
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE_SECONDS) == 0
        events = [line["event"] for line in server.log()]
        wanted = {
            "weights_fetch_started",
            "weights_fetched",
            "warmup_ok",
            "runtime_config",
            "ready",
        }
        assert wanted <= set(events)
        assert TOKEN not in server.log_file.read_text()
    assert set(app.authorizations) == {f"Bearer {TOKEN}"}
    assert Store(tmp_path / "models").folder(SPEC).is_dir()


def test_a_stopped_fetch_is_resumed(hub: tuple[Hub, str], start: Start, tmp_path: Path) -> None:
    app, endpoint = hub
    with start(HF_ENDPOINT=endpoint) as server:
        server.wait_for(half_fetched)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert not Store(tmp_path / "models").folder(SPEC).exists()
    app.go.set()
    with start(HF_ENDPOINT=endpoint) as server:
        server.wait_for(lambda status, body: status == 200)


def test_an_old_models_folder_is_served_unchanged(
    tiny_encoder: Callable[..., Path], start: Start, tmp_path: Path
) -> None:
    """Simple Inference Server keeps the hub's cache layout in its folder `models`."""
    repository = tmp_path / "models/models--acme--tiny"
    snapshot = repository / "snapshots/c0ffee"
    snapshot.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("c0ffee")
    shutil.copytree(tiny_encoder(), snapshot, ignore=shutil.ignore_patterns("models", "log"))
    before = sorted((tmp_path / "models").rglob("*"))
    with start(AUTO_DOWNLOAD_MODELS="0", CHAT_BATCH_WINDOW_MS="10") as server:
        server.wait_for(lambda status, body: status == 200)
        (ignored,) = (line for line in server.log() if line["event"] == "setting_ignored")
        assert (ignored["level"], ignored["setting"]) == ("warning", "CHAT_BATCH_WINDOW_MS")
    assert sorted((tmp_path / "models").rglob("*")) == before


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AUTO_DOWNLOAD_MODELS": "0"}, "modelfleet pull acme/tiny"),
        ({"HF_ENDPOINT": "ftp://nowhere"}, "HF_ENDPOINT is not"),
    ],
)
def test_missing_weights_exit_with_a_reason(
    start: Start, environ: dict[str, str], words: str
) -> None:
    with start(**environ) as server:
        assert server.process.wait(DEADLINE_SECONDS) == 3
        last = server.log()[-1]
    assert (last["event"], last["stage"]) == ("load_failed", "fetch")
    assert words in last["message"]


def test_an_invalid_setting(start: Start) -> None:
    with start(AUTO_DOWNLOAD_MODELS="maybe") as server:
        assert server.process.wait(DEADLINE_SECONDS) == 2
        assert "AUTO_DOWNLOAD_MODELS='maybe'" in server.log_file.read_text()


def prepare(root: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "fleet_server", "--prepare"],
        env={**kept, **encode(SPEC), "MODELS_DIR": str(root / "models"), **environ},
        capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
    )  # fmt: skip


def test_prepare(hub: tuple[Hub, str], tmp_path: Path) -> None:
    app, endpoint = hub
    app.go.set()
    done = prepare(tmp_path, HF_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "ready"
    assert (Store(tmp_path / "models").folder(SPEC) / "model.safetensors").is_file()


def test_prepare_errors_have_a_reason(tmp_path: Path) -> None:
    done = prepare(tmp_path, AUTO_DOWNLOAD_MODELS="0")
    assert done.returncode == 3
    event = json.loads(done.stderr.splitlines()[-1])
    assert (event["event"], event["stage"]) == ("load_failed", "fetch")


CONVERTER = """
import time
from pathlib import Path

VERSION = 1

def supports(names, config):
    return "the test converts it"

def convert(conversion):
    conversion.progress(4, 8)
    while not (conversion.source / "go").exists():
        time.sleep(0.02)
    (conversion.target / "model.bin").write_bytes(b"converted")
"""
SITE = """
from fleet_contract.spec import Engine, Task
from fleet_prepare import converters

converters.CONVERTERS = (
    converters.Converter(Task.SPEECH, Engine.CTRANSLATE2, "test_server_converter", "test",
                         converters.speech_quantization),
)
"""


@pytest.fixture
def slow_conversion(tmp_path: Path) -> tuple[ModelSpec, dict[str, str]]:
    """A model whose conversion waits until `source/go` exists."""
    source, site = tmp_path / "source", tmp_path / "site"
    for folder in (source, site):
        folder.mkdir()
    (source / "model.safetensors").write_bytes(b"weights ")
    (source / "config.json").write_text("{}")
    (site / "test_server_converter.py").write_text(CONVERTER)
    (site / "sitecustomize.py").write_text(SITE)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    fields = {"model": "acme/voice", "task": "speech", "source": f"file://{source}"}
    return ModelSpec.model_validate(fields), {"PYTHONPATH": os.pathsep.join(paths)}


def converting(status: int, body: dict[str, Any]) -> bool:
    progress = body.get("progress") or {}
    return body.get("status") == "converting" and progress.get("done_bytes") == 4


def test_conversion_is_a_separate_stage(
    slow_conversion: tuple[ModelSpec, dict[str, str]], start: Start, tmp_path: Path
) -> None:
    spec, environ = slow_conversion
    with start(spec, **environ, AUTO_DOWNLOAD_MODELS="0") as server:
        body = server.wait_for(converting)
        assert body["progress"]["total_bytes"] == 8
        assert list(body["stages"]) == ["start", "fetch", "convert"]
        (tmp_path / "source" / "go").touch()
        assert (
            server.process.wait(DEADLINE_SECONDS) == 3
        )  # CTranslate2 cannot read the test's weights
        events = [line["event"] for line in server.log()]
    assert {"weights_conversion_started", "weights_converted", "engine_chosen"} <= set(events)
    assert [path.name.rpartition(".")[2] for path in (tmp_path / "models").glob("acme*")] == [
        "test-int8-v1"
    ]


def test_a_stopped_conversion_leaves_no_files(
    slow_conversion: tuple[ModelSpec, dict[str, str]], start: Start, tmp_path: Path
) -> None:
    spec, environ = slow_conversion
    with start(spec, **environ) as server:
        server.wait_for(converting)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE_SECONDS) == 0
    assert [path for path in (tmp_path / "models").rglob("*") if path.suffix != ".lock"] == [
        tmp_path / "models" / ".staging"
    ]
