"""Clients of both APIs, each with a small task whose output is enforced: the script of a client
runs in the environment of the clients, and fails if its client cannot read the fleet's responses.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
Client = Callable[..., str]


def named(pattern: str) -> list[str]:
    return sorted(path.name for path in SCRIPTS.glob(pattern))


@pytest.mark.parametrize("name", named("*.py"))
def test_python(name: str, client: Client) -> None:
    client(name, ["python", str(SCRIPTS / name)])


@pytest.mark.parametrize("name", named("*.sh"))
def test_commands(name: str, client: Client) -> None:
    client(name, ["bash", str(SCRIPTS / name)])


@pytest.mark.parametrize("name", named("*.mjs"))
def test_node(name: str, client: Client, node_folder: Path) -> None:
    # Beside its packages: Node looks for them in the folder of the script.
    script = shutil.copy(SCRIPTS / name, node_folder / name)
    client(name, ["node", str(script)], folder=node_folder)
