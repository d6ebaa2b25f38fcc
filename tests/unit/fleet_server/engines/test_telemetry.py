"""Engine libraries are told to send nothing; that nothing is sent, tests/local watches."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

VARIABLE = "ORT_DISABLE_TELEMETRY"


def test_onnx_runtime_is_silenced_before_it_is_loaded() -> None:
    environ = {name: text for name, text in os.environ.items() if name != VARIABLE}
    code = (
        "import os, sys, fleet_server.engines; "
        f"assert os.environ['{VARIABLE}'] == '1'; "
        "assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)


def test_onnx_runtime_still_reads_that_variable() -> None:
    """It is not documented, so a release that renames it must not pass unnoticed."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    libraries = list(Path(found.origin).parent.glob("capi/*pybind11_state*"))
    assert any(VARIABLE.encode() in library.read_bytes() for library in libraries)
