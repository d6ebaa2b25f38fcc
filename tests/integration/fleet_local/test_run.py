"""`modelfleet up` as a process: two fleets that start on one port at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.ports import free_port
from support.waiting import until

SECONDS = 180
MANIFEST = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {name: remote}
spec: {model: acme/remote, task: chat, engine: remote, remote: {address: "http://127.0.0.1:9"}}
"""
"""A model without a server, so that a fleet is a router only."""

Start = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []
    (tmp_path / "fleet.yaml").write_text(MANIFEST)

    def one(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        command = [
            sys.executable, "-m", "fleet_local.command", "-f", str(tmp_path / "fleet.yaml"),
            "--port", str(port),
        ]  # fmt: skip
        with (folder / f"out-{len(running)}").open("wb") as output:
            running.append(
                subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
            )
        return running[-1]

    yield one
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)


@pytest.mark.parametrize("folders", [("a", "a"), ("a", "b")], ids=["same-folder", "two-folders"])
def test_of_two_fleets_on_one_port_one_runs_and_the_other_reports_why(
    start: Start, tmp_path: Path, port: int, folders: tuple[str, str]
) -> None:
    fleets = [start(tmp_path / folder) for folder in folders]
    outputs = [tmp_path / folder / f"out-{number}" for number, folder in enumerate(folders)]
    until(lambda: any(fleet.poll() is not None for fleet in fleets), SECONDS)
    loser = next(number for number, fleet in enumerate(fleets) if fleet.poll() is not None)
    assert fleets[loser].wait(SECONDS) == 1
    text = outputs[loser].read_text()
    assert "another process listens there" in text or "Another `modelfleet up`" in text
    until(lambda: "is ready at" in outputs[1 - loser].read_text(), SECONDS)
    assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    assert "is ready at" not in text
