"""Finds the cuBLAS that CTranslate2 opens by name when it first computes on an NVIDIA GPU.

CTranslate2's Linux wheels open `libcublas.so.12` with dlopen and need nothing of CUDA besides the
driver. The package nvidia-cublas-cu12 installs it in a folder that the loader does not search, but
a library that is already loaded is found by its name.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

LIBRARY = "libcublas.so.12"
DEPENDENCY = "libcublasLt.so.12"
PACKAGE = "nvidia-cublas-cu12"


def packaged() -> Path | None:
    """The library in site-packages, or None."""
    found = find_spec("nvidia")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        library = Path(place) / "cublas" / "lib" / LIBRARY
        if library.is_file():
            return library
    return None


def is_there() -> bool:
    """Whether it is in site-packages or on the loader's path."""
    return sys.platform == "linux" and (packaged() is not None or _loads(LIBRARY))


def preload() -> None:
    """Load the packaged library, so that it is found by name; no effect if there is none."""
    library = packaged()
    if library is None or _loads(LIBRARY):
        return
    ctypes.CDLL(str(library.with_name(DEPENDENCY)), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
