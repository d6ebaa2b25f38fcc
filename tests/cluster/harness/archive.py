"""Packs files of this machine into the archive of the pause image."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

PAUSE = "localhost/modelfleet-pause:1"


def pause(target: Path) -> None:
    """Write an image that runs `sleep`, with the libraries it needs, to hold a pod's namespaces."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    linked = subprocess.run(["ldd", sleep], capture_output=True, text=True).stdout
    files = [sleep, *re.findall(r"(/\S+) \(0x", linked)]
    _image(target, PAUSE, files, [sleep, "infinity"])


def _image(target: Path, reference: str, files: list[str], entrypoint: list[str]) -> None:
    """Write an archive in docker's format with one layer; symbolic links are followed."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", dereference=True) as tar:
        for file in files:
            tar.add(file, file.lstrip("/"))
    data = layer.getvalue()
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(data)}"]},
        }
    ).encode()
    name = f"{_digest(config)}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as tar:
        for entry, content in (
            (name, config),
            ("layer.tar", data),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], check=True, capture_output=True, text=True)
    return {"x86_64": "amd64", "aarch64": "arm64"}[machine.stdout.strip()]
