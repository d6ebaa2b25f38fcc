"""`modelfleet transcribe` with a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.client.transcribe import app, choose


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    (tmp_path / "speech.wav").write_bytes(b"RIFF" * 1000)
    return tmp_path / "speech.wav"


def run(target: Any, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*arguments, "--base-url", target.url])
    return done.exit_code, done.stdout, done.stderr


def test_the_text_of_the_first_model_for_speech(target: Any, recording: Path) -> None:
    target.models = [{"id": "c", "task": "chat"}, {"id": "s", "task": "speech"}]
    assert run(target, str(recording), "--language", "de") == (0, "hello\n", "")
    assert target.bodies == [
        {"model": "s", "response_format": "text", "language": "de", "kind": "transcriptions",
         "size": 4000, "name": "speech.wav"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "asked"), [("srt", "srt"), ("vtt", "vtt"), ("json", "verbose_json")]
)
def test_formats(target: Any, recording: Path, form: str, asked: str) -> None:
    status, output, _ = run(target, str(recording), "--model", "m", "--format", form)
    assert (status, target.bodies[0]["response_format"]) == (0, asked)
    if form == "json":
        assert json.loads(output)["duration"] == 2.5
    else:
        assert "00:00:02" in output


def test_errors(target: Any, recording: Path) -> None:
    assert "lists no model for speech; name one with --model" in run(target, str(recording))[2]
    for path, reason in ((f"{recording}x", "No such file"), (str(recording.parent), "not a file")):
        status, output, error = run(target, path, "--model", "m")
        assert (status, output) == (1, "")
        assert error.startswith(f"modelfleet transcribe: {path}: ")
        assert reason in error
    target.mode = "unknown"
    status, _, error = run(target, str(recording), "--model", "m")
    assert error == "modelfleet transcribe: secret (HTTP 404, request id req-7).\n"


def test_a_ready_model_comes_first() -> None:
    entries = [{"id": "a", "task": "speech", "state": "loading"},
               {"id": "b", "task": "speech", "state": "ready"}]  # fmt: skip
    assert choose({"data": entries}) == "b"
    assert choose({"data": entries[:1]}) == "a"
    for listed in ({}, {"data": [1, {"task": "speech"}]}):
        with pytest.raises(ValueError, match="no model for speech"):
            choose(listed)
