"""The interpreter a reference runs in: this one, or an environment of its own in the cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleet_bench.compare.errors import CannotCompare

MODULES = {
    "transformers": ("torch", "transformers", "gguf", "av"),
    "faster-whisper": ("faster_whisper", "av"),
}
"""What each reference library imports."""
REQUIREMENTS = ("torch>=2.8", "transformers>=5.24", "gguf>=0.10", "av>=14", "numpy>=2")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's CPU build is a tenth of the default one, which brings CUDA along."""
STAMP = "made-from"

Pip = Callable[[Sequence[str]], int]


def interpreter(library: str, environ: Mapping[str, str]) -> str:
    """A Python that has the library. Raises CannotCompare where there is none."""
    if is_here(library):
        return sys.executable
    if library != "transformers":
        raise CannotCompare(
            f"The reference needs {library}.", "Install it with `pip install 'modelfleet[server]'`."
        )
    folder = folder_of(environ)
    if is_complete(folder):
        return str(python_of(folder))
    raise CannotCompare(
        "The reference needs torch and transformers, which are not installed here.",
        f"Add --install-reference to install them into {folder}, or compare two running "
        "servers with --a and --b.",
    )


def install(environ: Mapping[str, str]) -> None:
    """Make the environment of transformers unless it is here, or was made: about 1 GB for a CPU.

    Raises CannotCompare.
    """
    folder = folder_of(environ)
    if not is_here("transformers") and not is_complete(folder):
        print(f"Installing the reference into {folder}.", file=sys.stderr, flush=True)
        create(folder, environ, lambda arguments: run_pip(folder, arguments, environ))


def is_here(library: str) -> bool:
    """Whether this interpreter has all that a reference library imports."""
    return all(importlib.util.find_spec(name) for name in MODULES[library])


def create(folder: Path, environ: Mapping[str, str], pip: Pip) -> None:
    """Make the environment; `pip` installs into it. Raises CannotCompare."""
    venv.create(folder, clear=True, symlinks=os.name != "nt", with_pip=False)
    index = environ.get("TORCH_INDEX_URL") or default_index()
    if index is not None and pip(["torch", "--index-url", index]) != 0:
        print(f"{index} has no torch to install; taking the default index.", file=sys.stderr)
    if (status := pip(REQUIREMENTS)) != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotCompare(
            f"pip ended with status {status} while it installed the reference.",
            "Its messages are above; TORCH_INDEX_URL names another index for torch.",
        )
    (folder / STAMP).write_text(_made_from())


def is_complete(folder: Path) -> bool:
    """Whether the environment was made, to its end, from these requirements and this Python."""
    try:
        return (folder / STAMP).read_text() == _made_from() and python_of(folder).exists()
    except OSError:
        return False


def _made_from() -> str:
    return "\n".join((sys.version.partition(" ")[0], *REQUIREMENTS))


def default_index() -> str | None:
    """PyTorch's index for this machine; None for the default one."""
    has_gpu = Path("/dev/nvidiactl").exists()
    return CPU_INDEX if sys.platform == "linux" and not has_gpu else None


def folder_of(environ: Mapping[str, str]) -> Path:
    """The environment's folder, in the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "modelfleet" / "reference"


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run_pip(folder: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """This interpreter's pip, installing into `folder`; its progress goes to stderr."""
    if importlib.util.find_spec("pip") is None:
        raise CannotCompare(
            "pip is not installed here.", f"Install it with `{sys.executable} -m ensurepip`."
        )
    command = [sys.executable, "-P", "-m", "pip", "--python", str(python_of(folder)), "install"]
    return subprocess.run(  # noqa: S603  (our own arguments, no shell)
        [*command, *arguments], stdout=sys.stderr, env=dict(environ), check=False
    ).returncode
