"""`modelfleet convert-pickle`: consent first, then a folder or a model of the catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.convert_pickle import app
from fleet_prepare.pickles import convert
from fleet_prepare.stage import PrepareStage
from fleet_weights.errors import WeightsError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Sources that would have been converted."""
    made: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        convert, "convert_folder", lambda source, target, _: made.append(source) or target
    )

    def convert_model(spec: Any, store: Any, environ: Any, report: Any) -> Path:
        made.append(spec.model)
        report(PrepareStage.FETCHING, 7, 7)
        return Path(store.root)

    monkeypatch.setattr(convert, "convert_model", convert_model)
    return made


def test_nothing_is_converted_without_consent(calls: list[Any], tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, [str(tmp_path)], input="n\n")
    assert ended.exit_code == 1
    assert "PyTorch" in ended.output
    assert calls == []


def test_a_folder_is_converted_next_to_itself(calls: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    ended = CliRunner().invoke(app, [str(folder)], input="y\n")
    assert calls == [folder]
    assert f"source: file://{folder}-safetensors" in ended.output


def test_a_model_of_the_catalog_is_converted_into_the_store(
    calls: list[Any], tmp_path: Path
) -> None:
    ended = CliRunner().invoke(app, ["bge-m3", "--yes", "--models-dir", str(tmp_path / "store")])
    assert calls == ["BAAI/bge-m3"]
    assert str(tmp_path / "store") in ended.output


def test_progress_and_result_are_json_lines(calls: list[Any], tmp_path: Path) -> None:
    arguments = ["bge-m3", "--yes", "--json", "--models-dir", str(tmp_path / "store")]
    lines = [json.loads(line) for line in CliRunner().invoke(app, arguments).output.splitlines()]
    assert [(line["event"], line["model"]) for line in lines] == [
        ("progress", "BAAI/bge-m3"), ("converted", "BAAI/bge-m3"),
    ]  # fmt: skip
    assert (lines[0]["done_bytes"], lines[1]["folder"]) == (7, str(tmp_path / "store"))


@pytest.mark.parametrize("arguments", [["no-such-model"], ["bge-m3", "--output", "x"]])
def test_wrong_arguments_end_with_status_2(calls: list[Any], arguments: list[str]) -> None:
    assert CliRunner().invoke(app, [*arguments, "--yes"]).exit_code == 2
    assert calls == []


def test_a_failure_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise WeightsError("It holds no checkpoint.", "Name another.")

    monkeypatch.setattr(convert, "convert_folder", fail)
    ended = CliRunner().invoke(app, [str(tmp_path), "--yes"])
    assert ended.exit_code == 1
    assert "It holds no checkpoint. Name another." in ended.output
