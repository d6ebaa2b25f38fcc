"""The command that installs an extra: a make target in a clone, pip elsewhere."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The clone this package is imported from, or a folder of the environment."""
MAKE_TARGETS = {
    "server": "env-run", "router": "env-run", "llamacpp": "env-run", "torch": "env-torch",
}  # fmt: skip


def install_command(extra: str, root: Path = ROOT) -> str:
    """The shell command that installs the packages of `extra` (pyproject.toml).

    In a clone the environment is `.venv`, with the versions of requirements.lock.
    """
    if not ((root / "Makefile").is_file() and (root / "pyproject.toml").is_file()):
        return f"pip install 'modelfleet[{extra}]'"
    if extra in MAKE_TARGETS:
        return f"make {MAKE_TARGETS[extra]}"
    return f".venv/bin/pip install -c requirements.lock -e '.[{extra}]'"
