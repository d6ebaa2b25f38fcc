"""Builds the project's images with `make images` and caches them by a hash of their sources.

Uses docker if available, else buildah on the image of `base_image`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import base_image
from harness.locks import exclusive
from harness.paths import REPOSITORY, cache_root

PREFIX = "localhost/modelfleet-"
_KEPT = 3
_DOCKERFILES = {
    "operator": "operator/Dockerfile",
    "router": "services/router.Dockerfile",
    "server": "services/server.Dockerfile",
    "client": "services/client.Dockerfile",
}
_COMMON = ("pyproject.toml", "requirements.lock", "LICENSE", ".dockerignore", "images.mk")


@dataclass(frozen=True, slots=True)
class Image:
    """Full name of an image, and its archive in docker's format."""

    reference: str
    archive: Path


def build(kind: str) -> Image:
    """Build an image (of the server, flavour cpu) unless it is cached."""
    folder = cache_root() / "images"
    tag = fingerprint(kind)
    suffix = "-cpu" if kind == "server" else ""
    image = Image(f"{PREFIX}{kind}:{tag}{suffix}", folder / f"{kind}-{tag}.tar")
    with exclusive(folder / "lock"):
        if not image.archive.exists():
            docker = _docker()
            builder = [docker] if docker else buildah(folder)
            if not docker:
                base_image.ensure(builder)
            _make(kind, tag, " ".join(builder), "" if docker else BUILDAH_FLAGS)
            _save(image, builder, folder)
            _remove_older(kind, folder, builder)
    return image


def fingerprint(kind: str) -> str:
    """Hash of the Dockerfile, the files it copies, and the pinned packages."""
    dockerfile = REPOSITORY / _DOCKERFILES[kind]
    copied = [
        word
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    digest = hashlib.sha256()
    for name in [_DOCKERFILES[kind], *_COMMON, *copied]:
        root = REPOSITORY / name
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(REPOSITORY)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# Isolation chroot needs no right to create namespaces; pip uses the machine's network and
# certificate authorities.
BUILDAH_FLAGS = (
    "--layers --isolation chroot --network host --pull-never -v /etc/ssl/certs:/etc/ssl/certs:ro"
)


def _docker() -> str | None:
    found = shutil.which("docker")
    if found and subprocess.run([found, "info"], capture_output=True).returncode == 0:
        return found
    return None


def buildah(folder: Path) -> list[str]:
    """The command of buildah with its own store in the cache folder."""
    store = folder / "buildah"
    return ["buildah", "--root", str(store / "root"), "--runroot", str(store / "run")]


def _make(kind: str, tag: str, builder: str, flags: str) -> None:
    variables = {
        "BUILDER": builder,
        "BUILD_FLAGS": flags,
        "IMAGES": kind,
        "IMAGE_PREFIX": PREFIX,
        "TAG": tag,
        "FLAVOUR": "cpu",
    }
    command = ["make", "-f", "images.mk", "images", *(f"{k}={v}" for k, v in variables.items())]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=_environ_without_make()
    )
    if done.returncode != 0:
        raise RuntimeError(f"image {kind} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def _environ_without_make() -> dict[str, str]:
    """The environment without variables of a surrounding `make test`."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}


def _save(image: Image, builder: list[str], folder: Path) -> None:
    partial = folder / f"{image.archive.name}.partial"
    partial.unlink(missing_ok=True)
    if builder[0] == "buildah":
        target = f"docker-archive:{partial}:{image.reference}"
        command = [*builder, "push", "--quiet", image.reference, target]
    else:
        command = [*builder, "save", "-o", str(partial), image.reference]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    partial.rename(image.archive)


def _remove_older(kind: str, folder: Path, builder: list[str]) -> None:
    """Keep the newest archives: another checkout or a concurrent run may use them."""
    archives = sorted(folder.glob(f"{kind}-*.tar"), key=lambda path: path.stat().st_mtime)
    for archive in archives[:-_KEPT]:
        archive.unlink()
    if builder[0] != "buildah":
        return
    query = ["images", "--format", "{{.Name}}:{{.Tag}}", f"--filter=reference={PREFIX}{kind}"]
    listed = subprocess.run([*builder, *query], capture_output=True, text=True).stdout.split()
    kept = {archive.stem.removeprefix(f"{kind}-") for archive in archives[-_KEPT:]}
    old = [name for name in listed if name.rpartition(":")[2].split("-")[0] not in kept]
    if old:
        subprocess.run([*builder, "rmi", *old], capture_output=True)
