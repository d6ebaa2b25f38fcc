"""Broken folders are refused with the file's name before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.ctranslate2 import SpeechEngine
from fleet_server.engines.ctranslate2.files import check
from fleet_server.load_error import LoadError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "model.bin": "weights", "config.json": "{}", "tokenizer.json": "{}", "vocabulary.txt": "a",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_whole_folder_passes(folder: Path) -> None:
    check(folder)
    (folder / "vocabulary.txt").rename(folder / "vocabulary.json")
    check(folder)


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(LoadError, match=name.partition(".")[0]) as caught:
        check(folder)
    assert "modelfleet pull" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_config_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(LoadError, match=r"config\.json"):
        check(folder)


def test_invalid_weights_are_a_load_error(folder: Path) -> None:
    spec = ModelSpec.model_validate({"model": "m", "task": "speech", "device": "cpu"})
    with pytest.raises(LoadError, match="could not be loaded") as caught:
        SpeechEngine(spec, folder, 1)
    assert caught.value.hint


def test_an_unknown_device_is_a_load_error(folder: Path) -> None:
    spec = ModelSpec.model_validate({"model": "m", "task": "speech", "device": "mps"})
    with pytest.raises(LoadError, match="mps"):
        SpeechEngine(spec, folder, 1)
