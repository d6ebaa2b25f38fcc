"""Rules for all Dockerfiles; tests/cluster runs the images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "operator" / "Dockerfile", *sorted(ROOT.glob("services/*.Dockerfile"))]
ALL = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


@ALL
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@ALL
def test_the_last_stage_has_an_unprivileged_user_and_labels(dockerfile: Path) -> None:
    last = dockerfile.read_text().rpartition("\nFROM ")[2]
    user = re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert user is not None
    assert int(user[1]) >= 10_000
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last
    assert re.search(r"^ENTRYPOINT \[", last, re.MULTILINE)


@ALL
def test_copied_files_exist_and_are_in_the_build_context(dockerfile: Path) -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert any(Path(source).match(pattern) for pattern in allowed), source


def test_only_the_servers_cuda_flavour_has_torch() -> None:
    asking = {path.name for path in DOCKERFILES if "torch" in path.read_text()}
    assert asking == {"server.Dockerfile"}
    server = (ROOT / "services" / "server.Dockerfile").read_text()
    assert "cpu) extras=server,llamacpp,traces ;;" in server
    assert "cuda) extras=server,llamacpp,torch,cuda,traces ;;" in server
