"""`modelfleet doctor` on this machine, with a hub that is a real server."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from fleet_cli.doctor.command import app


@pytest.fixture
def hub(listen: Any) -> Iterator[str]:
    """An address that responds 404 to everything."""
    with listen(FastAPI(openapi_url=None)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which another process listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def run(folder: Path, *arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the findings by their check, with settings of `environ` only."""
    kept = {"HOME": str(folder), "MODELS_DIR": str(folder / "models"), "PORT": "0"}
    unset = dict.fromkeys(("MODELS", "KUBECONFIG", "HF_TOKEN", "KEYS_FILE", "HOST", "CATALOG"))
    before = os.getcwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, [*arguments, "-o", "json"], env=unset | kept | environ)
    finally:
        os.chdir(before)
    return done.exit_code, {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_a_port_in_use_prevents_a_fleet(tmp_path: Path, port: int, hub: str) -> None:
    status, found = run(tmp_path, "--port", str(port), HF_ENDPOINT=hub)
    assert (status, found["port"]["level"]) == (1, "error")
    assert f"--port {port + 1}" in found["port"]["remedy"]
    assert found["hub"]["message"] == f"{hub} responds"
    assert {"settings", "cpu", "memory", "gpu", "engines", "logs", "disk"} <= set(found)
    assert "cluster" not in found


def test_a_model_without_weights_needs_the_hub(tmp_path: Path) -> None:
    gone = {"HF_ENDPOINT": "http://user:secret@127.0.0.1:9", "MODELS": "BAAI/bge-m3"}
    status, found = run(tmp_path, **gone | {"PORT": "8000"})
    assert (status, found["hub"]["level"]) == (1, "warning")
    assert "secret" not in json.dumps(found)
    assert "the hub cannot be reached" in found["model BAAI/bge-m3"]["message"]
    _, found = run(tmp_path, **gone | {"AUTO_DOWNLOAD_MODELS": "0", "PORT": "8000"})
    assert found["model BAAI/bge-m3"]["remedy"].startswith("Run `modelfleet pull BAAI/bge-m3`")


def test_what_no_file_can_change_is_found_without_the_hub(tmp_path: Path) -> None:
    gone = {"HF_ENDPOINT": "http://127.0.0.1:9", "MODELS": "BAAI/bge-m3", "PORT": "8000"}
    status, found = run(tmp_path, **gone, MODEL_DEVICE="npu")
    assert (status, found["model BAAI/bge-m3"]["level"]) == (1, "error")
    assert "requires device npu" in found["model BAAI/bge-m3"]["message"]


def test_a_model_that_the_hub_does_not_have(tmp_path: Path, hub: str) -> None:
    status, found = run(tmp_path, HF_ENDPOINT=hub, MODELS="BAAI/bge-m3", PORT="8000")
    assert (status, found["model BAAI/bge-m3"]["level"]) == (1, "error")


def test_settings_are_checked_first(tmp_path: Path, hub: str) -> None:
    status, found = run(tmp_path, HF_ENDPOINT=hub, HOST="0.0.0.0", MODELS_DIR_LIMIT="much")
    assert (status, found["settings"]["level"]) == (1, "error")
    assert found["disk"]["message"].startswith("MODELS_DIR_LIMIT='much'")


def test_lines_have_tabs(tmp_path: Path, port: int, hub: str) -> None:
    environ = {"HF_ENDPOINT": hub, "MODELS_DIR": str(tmp_path), "KUBECONFIG": f"{tmp_path}/none"}
    done = CliRunner().invoke(app, ["--port", str(port)], env=environ)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {line[0] for line in lines} >= {"ok", "error"}
    assert all(3 <= len(line) <= 4 for line in lines)
    assert next(line for line in lines if line[1] == "cluster")[0] == "warning"


def test_the_budget_is_checked(tmp_path: Path, hub: str) -> None:
    status, found = run(tmp_path, HF_ENDPOINT=hub, MEMORY_BUDGET="much")
    assert (status, found["budget"]["level"]) == (1, "error")
    assert found["budget"]["message"].startswith("MEMORY_BUDGET='much'")
    _, found = run(tmp_path, HF_ENDPOINT=hub, MEMORY_BUDGET="8Gi")
    assert found["budget"]["message"] == "servers may take 8.0 GiB of memory"


def test_each_model_is_checked_although_another_has_too_many_servers(
    tmp_path: Path, hub: str
) -> None:
    manifest = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {name: %s}
spec: {model: acme/%s, replicas: %d, source: "hf://acme/%s"}
"""
    documents = [manifest % (name, name, number, name) for name, number in (("a", 1), ("b", 100))]
    (tmp_path / "fleet.yaml").write_text("---\n".join(documents))
    status, found = run(tmp_path, "-f", "fleet.yaml", HF_ENDPOINT=hub, PORT="8000")
    assert status == 1
    assert "100 replicas; at most 64" in found["model acme/b"]["message"]
    assert "model acme/a" in found
