"""A fleet of SmolLM2 and MiniLM, and the environments of the clients, which `make test-clients`
creates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.local_fleet import EMBEDDING, READY, START_SECONDS, running_fleet

ROOT = Path(__file__).parents[2]
PYTHON_BIN = ROOT / "build" / "clients" / "bin"
NODE = ROOT / "build" / "clients-node"


@pytest.fixture(scope="session")
def python_bin() -> Path:
    """The commands of the clients' own environment."""
    assert PYTHON_BIN.is_dir(), "run `make test-clients`"
    return PYTHON_BIN


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
