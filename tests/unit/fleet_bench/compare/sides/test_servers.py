"""Which reference a model gets, from its task and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.sides.servers import library_of, reference_of, torch_variant
from fleet_contract.spec import ModelSpec


def spec(task: str) -> ModelSpec:
    return ModelSpec.model_validate({"model": "acme/m", "task": task})


def write(folder: Path, config: dict[str, Any] | None, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("task", "config", "names", "library"),
    [
        ("speech", {"suppress_ids": []}, ["model.bin"], "faster-whisper"),
        ("speech", None, ["model.bin"], "faster-whisper"),
        ("speech", {"model_type": "whisper"}, ["model.safetensors"], "transformers"),
        ("chat", None, ["m.gguf"], "transformers"),
        ("embedding", {"model_type": "bert"}, ["model.safetensors"], "transformers"),
    ],
)
def test_the_library(
    tmp_path: Path, task: str, config: dict[str, Any] | None, names: list[str], library: str
) -> None:
    folder = write(tmp_path, config, *names)
    assert library_of(spec(task), folder) == library
    other = {"transformers": "faster-whisper", "faster-whisper": "transformers"}[library]
    with pytest.raises(CannotCompare, match=f"--reference {library}"):
        reference_of(spec(task), folder, other, {})
    assert reference_of(spec(task), folder, library, {}).library == library


def test_our_torch_engine() -> None:
    made = torch_variant(spec("chat"), "float32")
    assert (made.engine.value, made.dtype.value) == ("torch", "float32")
