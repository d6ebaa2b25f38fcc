"""A fleet of SmolLM2 and MiniLM, and the environments of the clients, which `make test-clients`
creates."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.local_fleet import EMBEDDING, READY, START_SECONDS, running_fleet
from support.one_address import Run, only_port

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "clients"
NODE = ENVIRONMENTS / "node"
OTHERS = {"aider": "aider", "llama": "llama-index"}
"""Environments of clients that need other versions, by the beginning of a script's name."""
SECONDS = 300


@pytest.fixture(scope="session")
def node_folder() -> Path:
    """The folder with the packages of Node."""
    if not NODE.is_dir():
        pytest.skip("Node is not installed")
    return NODE


@pytest.fixture(scope="session")
def base_url(demo_weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the fleet, without a path."""
    folder = tmp_path_factory.mktemp("fleet")
    models = demo_weights(EMBEDDING).parent
    with running_fleet(models, folder, "--models", "smollm2,minilm") as fleet:
        fleet.wait_for(READY, START_SECONDS)
        yield fleet.base_url


@pytest.fixture(scope="session")
def isolated(base_url: str) -> Iterator[Run]:
    """`subprocess.run` of programs that reach the fleet and nothing else."""
    with only_port(int(base_url.rpartition(":")[2])) as run:
        yield run


Client = Callable[..., str]


@pytest.fixture
def client(isolated: Run, base_url: str, tmp_path: Path) -> Client:
    """Runs a script of the client `name` in a folder of its own, which is also its home, with the
    programs of its environment on the PATH; its output. Fails if the client does."""

    def run(
        name: str, command: list[str], text: str = "", folder: Path = tmp_path, **more: str
    ) -> str:
        own = next((OTHERS[each] for each in OTHERS if name.startswith(each)), "python")
        bins = [ENVIRONMENTS / own / "bin", NODE / "node_modules" / ".bin"]
        assert bins[0].is_dir(), "run `make test-clients`"
        path = os.pathsep.join([*map(str, bins), os.environ["PATH"]])
        done = isolated(
            command, cwd=folder, input=text, timeout=SECONDS, text=True, check=False,
            env=os.environ | {"BASE_URL": base_url, "HOME": str(tmp_path), "PATH": path} | more,
            executable=shutil.which(command[0], path=path),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    return run
