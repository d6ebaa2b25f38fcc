"""Builds python:3.11-slim from Debian packages, for machines without access to an image registry.

The Dockerfiles are the same with this base image.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

NAME = "docker.io/library/python:3.11-slim"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_SUITE = "bookworm"
_NOT_IN_SLIM = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/cache/debconf",
    "var/log/bootstrap.log",
)


def ensure(buildah: list[str]) -> None:
    """Build the image in buildah's store if it is missing; the first build takes minutes."""
    present = subprocess.run([*buildah, "inspect", "--type", "image", NAME], capture_output=True)
    if present.returncode != 0:
        with tempfile.TemporaryDirectory(prefix="modelfleet-base-") as folder:
            _commit(buildah, _bootstrap(Path(folder) / "root"))


def _bootstrap(root: Path) -> Path:
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    for name in _NOT_IN_SLIM:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def _commit(buildah: list[str], root: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run([*buildah, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    container = run("from", "scratch")
    try:
        run("add", "--quiet", container, str(root), "/")
        run("config", "--cmd", "python3", container)
        run("commit", "--quiet", "--format", "docker", container, NAME)
    finally:
        run("rm", container)
