"""Runs the `modelfleet` command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS = ("CATALOG", "MODELS", "MODELS_DIR", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT")


@pytest.fixture
def modelfleet(tmp_path: Path) -> Run:
    """Run the command in an empty folder: `modelfleet("pull", "x", MODELS_DIR="...")`."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key not in SETTINGS}
        return subprocess.run(
            [sys.executable, "-c", "from fleet_cli.main import main; main()", *arguments],
            capture_output=True, text=True, timeout=180, cwd=tmp_path,
            env=kept | {"HF_TOKEN_PATH": os.devnull} | environ,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    return run
