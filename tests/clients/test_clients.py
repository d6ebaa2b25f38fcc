"""Clients of both APIs, each with a small task whose output is enforced: the script of a client
runs in the environment of the clients, and fails if its client cannot read the fleet's responses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
SECONDS = 300


def named(pattern: str) -> list[str]:
    return sorted(path.name for path in SCRIPTS.glob(pattern))


def run(command: list[str], base_url: str, folder: Path, **variables: str) -> None:
    done = subprocess.run(
        command, cwd=folder, timeout=SECONDS, capture_output=True, text=True, check=False,
        env=os.environ | {"BASE_URL": base_url} | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("name", named("*.py"))
def test_python(name: str, base_url: str, python_bin: Path, tmp_path: Path) -> None:
    run([str(python_bin / "python"), str(SCRIPTS / name)], base_url, tmp_path)


@pytest.mark.parametrize("name", named("*.sh"))
def test_commands(name: str, base_url: str, python_bin: Path, tmp_path: Path) -> None:
    run(["sh", str(SCRIPTS / name)], base_url, tmp_path, BIN=str(python_bin))


@pytest.mark.parametrize("name", named("*.mjs"))
def test_node(name: str, base_url: str, node_folder: Path) -> None:
    # Beside its packages: Node looks for them in the folder of the script.
    script = shutil.copy(SCRIPTS / name, node_folder / name)
    run(["node", str(script)], base_url, node_folder)
