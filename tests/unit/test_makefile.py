"""The variables of `make up`, and what `make test` runs."""

from __future__ import annotations

import re
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


def test_every_test_is_in_one_suite_of_make_test() -> None:
    # Read, not run with --dry-run: make runs lines with $(MAKE) all the same.
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    suites = set(re.findall(r"test-[a-z-]+", re.findall(r"^SUITES := (.*)$", text, re.M)[0]))
    recipes = dict(re.findall(r"^(test-[a-z-]+): .*\n((?:\t.*\n)+)", text, re.M))
    runs = [
        run.replace("$(PYTEST_ARGS)", "").split()
        for suite in suites
        for run in re.findall(r"-m pytest (.*?)(?:\|\||\n)", recipes[suite])
    ]
    collected = [path for run in runs for path in _collected(run)]
    assert len(collected) == len(set(collected))
    folders = ("unit", "integration", "oracle", "local", "cluster", "e2e", "hostile")
    assert set(collected) == {path for name in folders for path in _tests(ROOT / "tests" / name)}


def _collected(arguments: list[str]) -> set[Path]:
    """The files with tests that pytest collects with these arguments."""
    left = iter(arguments)
    found: set[Path] = set()
    ignored: set[Path] = set()
    for each in left:
        if each == "--ignore":
            ignored |= _tests(ROOT / next(left))
        else:
            found |= _tests(ROOT / each)
    return found - ignored


def _tests(path: Path) -> set[Path]:
    return {path} if path.is_file() else set(path.rglob("test_*.py"))
