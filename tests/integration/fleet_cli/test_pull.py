"""`modelfleet pull` from a local hub and local packages."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet_weights.store import Store
from support.hub import Hub

CATALOG = """
models:
- {model: acme/one, aliases: [one], task: embedding, source: "file://%(folder)s"}
- {model: acme/gone, task: embedding, source: "hf://acme/gone@main"}
- model: acme/joined
  task: embedding
  weights:
  - {path: model.safetensors, parts: [{url: "file://%(folder)s/part"}]}
- {model: acme/elsewhere, task: chat, engine: remote, remote: {address: "http://h.example"}}
"""
TOKEN = "hf_not-a-real-token"


class _NoSuchRepository(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("x-error-code", "RepoNotFound")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NoSuchRepository)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def known(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "part").write_bytes(b"numbers")
    file = tmp_path / "own.yaml"
    file.write_text(CATALOG % {"folder": folder})
    return file


def test_pull_prints_the_folder(modelfleet: Any, known: Path, tmp_path: Path) -> None:
    first = modelfleet("pull", "acme/joined", "--catalog", str(known))
    assert first.returncode == 0, first.stderr
    folder = next((tmp_path / "models").glob("acme--joined-*"))
    assert (folder / "model.safetensors").read_bytes() == b"numbers"
    assert "acme/joined: pulled in" in first.stdout
    second = modelfleet("pull", "acme/joined", "acme/elsewhere", "--catalog", str(known), "--json")
    present, other = map(json.loads, second.stdout.splitlines())
    assert present.pop("seconds") >= 0
    assert present == {"event": "present", "model": "acme/joined", "folder": str(folder)}
    assert other == {"event": "without_weights", "model": "acme/elsewhere", "engine": "remote"}


def test_models_come_from_the_environment_and_a_dotenv_file(
    modelfleet: Any, known: Path, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MODELS=acme/joined\nMODELS_DIR=elsewhere\n")
    assert modelfleet("pull", "--catalog", str(known)).returncode == 0
    assert list((tmp_path / "elsewhere").glob("acme--joined-*"))
    ended = modelfleet("pull", "--catalog", str(known), MODELS="one")
    assert "acme/one: already there" in ended.stdout
    assert "joined" not in ended.stdout


def test_a_failure_has_a_reason_and_the_others_are_pulled(
    modelfleet: Any, known: Path, hub: str, tmp_path: Path
) -> None:
    ended = modelfleet(
        "pull", "acme/gone,acme/joined", "--catalog", str(known), HF_ENDPOINT=hub, HF_TOKEN=TOKEN
    )
    assert ended.returncode == 1
    assert "acme/gone: " in ended.stderr
    assert "401" in ended.stderr
    assert "HF_TOKEN is set, but may not read" in ended.stderr
    assert TOKEN not in ended.stdout + ended.stderr
    assert list((tmp_path / "models").glob("acme--joined-*"))


def test_a_file_of_manifests(modelfleet: Any, known: Path, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "apiVersion: modelfleet.dev/v1alpha1\nkind: InferenceModel\nmetadata: {name: mine}\n"
        "spec: {model: acme/joined}\n"
    )
    ended = modelfleet("pull", "-f", str(file), "--catalog", str(known), "--models-dir", "here")
    assert ended.returncode == 0, ended.stderr
    assert list((tmp_path / "here").glob("acme--joined-*"))


def test_remote_models_are_not_pulled(modelfleet: Any, known: Path) -> None:
    ended = modelfleet("pull", "acme/elsewhere", "--catalog", str(known))
    assert ended.returncode == 0
    assert "no weights to pull" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nope"], "'nope' is not in the catalog"), (["one", "-f", "x"], "not both")],
)
def test_invalid_input(modelfleet: Any, known: Path, arguments: list[str], words: str) -> None:
    ended = modelfleet("pull", *arguments, "--catalog", str(known))
    assert ended.returncode == 2
    assert words in ended.stderr


def test_progress_bar_on_a_terminal(known: Path, tmp_path: Path) -> None:
    """On a pseudo-terminal, on which rich draws."""
    main_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from fleet_cli.main import main; main()", "pull", "acme/joined",
         "--catalog", str(known), "--models-dir", str(tmp_path / "models")],
        stdout=terminal, stderr=terminal, stdin=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(terminal)
    drawn = b""
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # Linux raises this when the other end is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(main_end)
    assert process.wait(180) == 0
    assert b"\xe2\x94\x81" in drawn  # the line of the progress bar
    assert b"pulled in" in drawn
    assert Store(tmp_path / "models").root.is_dir()


NEEDS_TORCH = """
models:
- {model: acme/torch_model, vision: true, source: "hf://acme/torch_model"}
"""
BLOCKER = "import sys\nsys.modules['torch'] = None\n"


@pytest.fixture
def torch_model(tmp_path: Path) -> Iterator[tuple[Hub, dict[str, str]]]:
    """A repository that only torch can serve, and variables that disable torch."""
    repository, blocker = tmp_path / "repository", tmp_path / "blocker"
    for folder in (repository, blocker):
        folder.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCKER)
    (repository / "config.json").write_text('{"model_type": "qwen3_vl"}')
    (repository / "model.safetensors").write_bytes(b"numbers")
    (tmp_path / "torch_model.yaml").write_text(NEEDS_TORCH)
    with Hub({"acme/torch_model": repository}).serving() as serving:
        yield serving, {"HF_ENDPOINT": serving.url, "PYTHONPATH": str(blocker)}


def test_unsupported_models_are_not_fetched(
    modelfleet: Any, torch_model: tuple[Hub, dict[str, str]]
) -> None:
    serving, environ = torch_model
    ended = modelfleet("pull", "acme/torch_model", "--catalog", "torch_model.yaml", **environ)
    assert ended.returncode == 1
    assert "torch is not installed" in ended.stderr
    assert "make up TORCH=1" in ended.stderr
    assert "--force" in ended.stderr
    assert serving.fetched("acme/torch_model") == {"config.json"}


@pytest.mark.parametrize("option", ["--force", "--no-convert"])
def test_models_can_be_fetched_for_another_machine(
    modelfleet: Any, torch_model: tuple[Hub, dict[str, str]], tmp_path: Path, option: str
) -> None:
    ended = modelfleet(
        "pull", "acme/torch_model", option, "--catalog", "torch_model.yaml", **torch_model[1]
    )
    assert ended.returncode == 0, ended.stderr
    assert "acme/torch_model: pulled in" in ended.stdout
    assert ("this machine cannot serve it" in ended.stderr) is (option == "--force")
    folder = next((tmp_path / "models").glob("acme--torch_model-*"))
    assert (folder / "model.safetensors").read_bytes() == b"numbers"


def test_adapters_are_fetched_with_their_model(
    modelfleet: Any, torch_model: tuple[Hub, dict[str, str]], tmp_path: Path
) -> None:
    """Also without conversion, as on nodes for other devices."""
    hub, environ = torch_model
    lora = tmp_path / "lora"
    lora.mkdir()
    (lora / "adapter_config.json").write_text('{"r": 8}')
    (lora / "adapter_model.safetensors").write_bytes(b"few numbers")
    hub.repositories["acme/lora"] = lora
    (tmp_path / "adapters.yaml").write_text(
        'models: [{model: acme/m, source: "hf://acme/torch_model", engine: vllm,'
        ' adapters: [{name: sql, source: "hf://acme/lora"}]}]'
    )
    ended = modelfleet("pull", "acme/m", "--no-convert", "--catalog", "adapters.yaml", **environ)
    assert ended.returncode == 0, ended.stderr
    assert "acme/m: pulled in" in ended.stdout
    (folder,) = (tmp_path / "models").glob("acme--m*sql-*")
    assert (folder / "adapter_model.safetensors").read_bytes() == b"few numbers"


def test_an_invalid_limit_is_named(modelfleet: Any, known: Path) -> None:
    ended = modelfleet("pull", "one", "--catalog", str(known), MODELS_DIR_LIMIT="much")
    assert ended.returncode == 2
    assert "MODELS_DIR_LIMIT='much'" in ended.stderr


def test_without_eviction_models_that_do_not_fit_are_skipped(
    modelfleet: Any, known: Path, tmp_path: Path
) -> None:
    other = tmp_path / "models" / "acme--other-0123456789"
    other.mkdir(parents=True)
    (other / "model.safetensors").write_bytes(b"numbers")
    ended = modelfleet("pull", "acme/joined", "--no-evict", "--no-convert", "--catalog", str(known),
                       MODELS_DIR_LIMIT="3")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "acme/joined: skipped. acme/joined needs" in ended.stdout
    assert not list((tmp_path / "models").glob("acme--joined-*"))
    assert other.exists()
