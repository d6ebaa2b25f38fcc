"""The interpreter of a reference: this one, or that of a separate environment in the cache."""

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
from fleet_contract.installation import install_command

MODULES = {
    "transformers": ("torch", "transformers", "gguf", "av"),
    "faster-whisper": ("faster_whisper", "av"),
}
"""The packages that each reference library needs."""
REQUIREMENTS = ("torch>=2.8", "transformers>=5.24", "gguf>=0.10", "av>=14", "numpy>=2")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's CPU build is a tenth of the default one, which brings CUDA along."""
STAMP = "made-from"

Pip = Callable[[Sequence[str]], int]


def interpreter(library: str, environ: Mapping[str, str]) -> str:
    """An interpreter with the library installed. Raises CannotCompare without any."""
    if is_here(library):
        return sys.executable
    if library != "transformers":
        raise CannotCompare(
            f"The reference needs {library}.", f"Install it with `{install_command('server')}`."
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
    """Create the environment of transformers unless it exists or is not needed.

    It takes about 1 GB for a CPU. Raises CannotCompare.
    """
    folder = folder_of(environ)
    if not is_here("transformers") and not is_complete(folder):
        print(f"Installing the reference into {folder}.", file=sys.stderr, flush=True)
        create(folder, environ, lambda arguments: run_pip(folder, arguments, environ))


def is_here(library: str) -> bool:
    """Whether this interpreter has all packages of a reference library."""
    return all(importlib.util.find_spec(name) for name in MODULES[library])


def create(folder: Path, environ: Mapping[str, str], pip: Pip) -> None:
    """Create the environment; `pip` installs into it. Raises CannotCompare."""
    venv.create(folder, clear=True, symlinks=os.name != "nt", with_pip=False)
    index = environ.get("TORCH_INDEX_URL") or default_index()
    if index is not None and pip(["torch", "--index-url", index]) != 0:
        print(f"torch cannot be installed from {index}; using the default index.", file=sys.stderr)
    if (status := pip(REQUIREMENTS)) != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise CannotCompare(
            f"pip failed to install the reference (exit status {status}).",
            "Its messages are above; TORCH_INDEX_URL names another index for torch.",
        )
    (folder / STAMP).write_text(_made_from())


def is_complete(folder: Path) -> bool:
    """Whether the environment was completed with these requirements and this Python."""
    try:
        return (folder / STAMP).read_text() == _made_from() and python_of(folder).exists()
    except OSError:
        return False


def _made_from() -> str:
    return "\n".join((sys.version.partition(" ")[0], *REQUIREMENTS))


def default_index() -> str | None:
    """PyTorch's index for CPU builds on Linux without a GPU, else None."""
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
    """Install into `folder` by this interpreter's pip, logging to stderr; pip's exit status."""
    if importlib.util.find_spec("pip") is None:
        raise CannotCompare(
            "pip is not installed here.", f"Install it with `{sys.executable} -m ensurepip`."
        )
    command = [sys.executable, "-P", "-m", "pip", "--python", str(python_of(folder)), "install"]
    return subprocess.run(  # noqa: S603  (fixed arguments, no shell)
        [*command, *arguments], stdout=sys.stderr, env=dict(environ), check=False
    ).returncode
