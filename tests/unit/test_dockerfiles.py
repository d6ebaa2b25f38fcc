"""Rules for all Dockerfiles; tests/cluster runs the images."""

from __future__ import annotations

import importlib.metadata
import os
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
    assert "cpu|intel) extras=server,llamacpp,traces ;;" in server
    assert "cuda) extras=server,llamacpp,torch,cuda,traces ;;" in server


@pytest.mark.parametrize(("flavour", "kept"), [("cpu", {"cpu"}), ("intel", {"cpu", "gpu", "npu"})])
def test_the_servers_intel_flavour_keeps_the_plugins_of_intels_devices(
    tmp_path: Path, flavour: str, kept: set[str]
) -> None:
    """The Dockerfile's step on files with the names of the installed OpenVINO."""
    folder = tmp_path / "openvino" / "libs"
    folder.mkdir(parents=True)
    installed = Path(importlib.metadata.distribution("openvino").locate_file("openvino/libs"))
    for name in os.listdir(installed):
        (folder / name).touch()
    server = (ROOT / "services" / "server.Dockerfile").read_text().replace("\\\n", "")
    (step,) = re.findall(r'^RUN (if \[ "\$\{FLAVOUR\}" != intel \].*)$', server, re.MULTILINE)
    environ = {"PATH": os.environ["PATH"], "FLAVOUR": flavour}
    subprocess.run(["bash", "-c", step], cwd=tmp_path, env=environ, check=True)
    found = re.findall(r"libopenvino_intel_(\w+)_plugin", " ".join(os.listdir(folder)))
    assert set(found) == kept
    assert (folder / "cache.json").exists() is (flavour == "intel")
