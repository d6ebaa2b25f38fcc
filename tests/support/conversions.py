"""Fixtures of conversions: a test converter, its source weights and a fake hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_prepare import converters
from fleet_prepare.converters import Converter
from fleet_prepare.machine import Machine
from support.hub import Hub

CONVERTER = """
import json, os, signal, sys, threading
from fleet_weights.errors import WeightsError

VERSION = 3

def supports(names, config):
    return "the test converts it" if config.get("model_type") == "test" else None

def convert(conversion):
    config = json.loads((conversion.source / "config.json").read_text())
    how = config.get("how", "fine")
    print("libraries print to standard output")
    with (conversion.source / "runs").open("a") as runs:
        runs.write(f"{os.getpid()}\\n")
    data = (conversion.source / "model.safetensors").read_bytes()
    half = len(data) // 2
    (conversion.target / "model.bin").write_bytes(data[:half])
    conversion.check()
    conversion.progress(half, len(data))
    if how == "refuse":
        raise WeightsError("model.safetensors lacks the tensor `w`.", "Name another revision.")
    if how == "full":
        raise OSError(28, "No space left on device")
    if how == "crash":
        print("a library's last words", file=sys.stderr)
        os._exit(9)
    if how == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        threading.Event().wait()
    (conversion.target / "model.bin").write_bytes(data.upper())
    for name, text in {
        "config.json": json.dumps({"suppress_ids": [], "as": conversion.quantization}),
        "tokenizer.json": "{}", "vocabulary.json": "[]",
    }.items():
        (conversion.target / name).write_text(text)
    conversion.progress(len(data), len(data))
"""
CPU = Machine("cpu", has_torch=False)


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    """Registers one converter instead of all others: `model_type` `test`, for CTranslate2."""
    home = tmp_path / "packages"
    home.mkdir()
    (home / "test_converter.py").write_text(CONVERTER)
    monkeypatch.syspath_prepend(home)
    before = os.environ.get("PYTHONPATH")
    paths = [str(home), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    made = Converter(
        Task.SPEECH, Engine.CTRANSLATE2, "test_converter", "ctranslate2",
        converters.speech_quantization,
    )  # fmt: skip
    monkeypatch.setattr(converters, "CONVERTERS", (made,))
    return made


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """`source(how="fine")` writes a folder of weights for the converter."""

    def write(how: str = "fine", family: str = "test") -> Path:
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"model_type": family, "how": how}))
        (folder / "model.safetensors").write_bytes(b"weights " * 1000)
        (folder / "tokenizer.json").write_text("{}")
        return folder

    return write


@pytest.fixture
def speech(source: Callable[..., Path]) -> Callable[..., ModelSpec]:
    """`speech(how="fine")`: a spec whose `file://` source must be converted."""

    def make(how: str = "fine", **changes: object) -> ModelSpec:
        fields = {"model": "acme/voice", "task": "speech", "source": f"file://{source(how)}"}
        return ModelSpec.model_validate(fields | changes)

    return make


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An empty hub; tests add repositories."""
    with Hub({}).serving() as serving:
        yield serving
