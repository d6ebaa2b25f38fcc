"""Telemetry of engine libraries is disabled; tests/local checks that nothing is sent."""

from __future__ import annotations

import importlib.util
from pathlib import Path

VARIABLE = "ORT_DISABLE_TELEMETRY"


def test_onnx_runtime_still_reads_that_variable() -> None:
    """It is not documented, so a release that renames it must not pass unnoticed."""
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    libraries = list(Path(found.origin).parent.glob("capi/*pybind11_state*"))
    assert any(VARIABLE.encode() in library.read_bytes() for library in libraries)
