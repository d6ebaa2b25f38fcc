"""Preloading of shared libraries that another library opens by name."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_prepare import cublas
from support.required import require_program

COMPILER = "cc"


@pytest.mark.skipif(sys.platform != "linux", reason="CTranslate2 has CUDA on Linux only here")
def test_a_preloaded_library_is_found_by_its_name(tmp_path: Path) -> None:
    """CTranslate2 opens libraries like this. A copy of any small library works for the test."""
    require_program(COMPILER)
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    for name in (cublas.DEPENDENCY, cublas.LIBRARY):
        subprocess.run(
            [COMPILER, "-shared", "-o", str(folder / name), f"-Wl,-soname,{name}", "-x", "c", "-"],
            input=b"int modelfleet(void) { return 12; }", check=True,
        )  # fmt: skip
    code = (
        "import ctypes, sys; sys.path.insert(0, sys.argv[1]);"
        "from fleet_prepare import cublas; cublas.preload();"
        "print(ctypes.CDLL(cublas.LIBRARY).modelfleet())"
    )
    try:
        ctypes.CDLL(cublas.LIBRARY)
    except OSError:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "12", done.stderr
