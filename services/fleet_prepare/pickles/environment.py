"""A throw-away virtual environment with torch, for one conversion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fleet_weights.errors import WeightsError
from fleet_weights.secrets import without_secrets

REQUIREMENTS = ("torch>=2.6", "safetensors", "numpy")
"""torch 2.6 closed a hole in its restricted unpickler (CVE-2025-32434)."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@contextmanager
def throwaway(environ: Mapping[str, str]) -> Iterator[Path]:
    """Its Python; the environment is removed at the end. Raises WeightsError.

    TORCH_INDEX_URL names the index of PyTorch's CPU builds; pip's own settings hold for the rest.
    """
    with TemporaryDirectory(prefix="modelfleet-pickle-") as folder:
        python = Path(folder) / "bin" / "python"
        _run([sys.executable, "-m", "venv", folder], environ)
        index = environ.get("TORCH_INDEX_URL") or CPU_INDEX
        _run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--extra-index-url", index, *REQUIREMENTS],
            environ,
        )  # fmt: skip
        yield python


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    # pip runs code of packages, which must not see the hub's token.
    done = subprocess.run(  # noqa: S603  (our own arguments, no shell)
        command, env=without_secrets(environ), stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise WeightsError(
            f"`{' '.join(command)}` ended with status {done.returncode}.",
            "See its output above.",
        )
