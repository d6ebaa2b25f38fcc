"""The variables of `make up`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ([], ".venv/bin/modelfleet up"),
        (["FILES=a.yaml"], ".venv/bin/modelfleet up -f a.yaml"),
        (["FILES=a.yaml b/c.yaml"], ".venv/bin/modelfleet up -f a.yaml -f b/c.yaml"),
    ],
)
def test_up_serves_the_manifests_that_are_named(given: list[str], command: str) -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "up", "VENV=.venv", *given],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert printed.stdout.splitlines()[-1].split() == ["exec", *command.split()]


@pytest.mark.parametrize("target", ["env-run", "env-torch"])
def test_the_environment_of_up_has_every_cpu_engine(target: str) -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "router,server,llamacpp" in printed.stdout
