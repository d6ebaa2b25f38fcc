"""JSON lines of `modelfleet pull`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_cli import pull_output
from fleet_cli.pull_output import JsonOutput
from fleet_prepare.stage import PrepareStage


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_progress_has_bytes_and_rate_of_each_stage(capsys: Any) -> None:
    now = 10.0
    progress = pull_output._JsonProgress("m", lambda: now)
    for seconds, stage, done, total in (
        (0.0, PrepareStage.FETCHING, 100, None), (0.1, PrepareStage.FETCHING, 200, 1000),
        (2.0, PrepareStage.FETCHING, 500, 1000), (2.1, PrepareStage.FETCHING, 1000, 1000),
        (2.2, PrepareStage.CONVERTING, 0, 50),
    ):  # fmt: skip
        now = 10.0 + seconds
        progress.report(stage, done, total)
    lines = printed(capsys)
    assert all((line["event"], line["model"]) == ("progress", "m") for line in lines)
    # Not the second one, which follows too soon.
    assert [
        (line["stage"], line["done_bytes"], line["total_bytes"], line["bytes_per_second"])
        for line in lines
    ] == [
        ("fetching", 100, None, None), ("fetching", 500, 1000, 200),
        ("fetching", 1000, 1000, 429), ("converting", 0, 50, None),
    ]  # fmt: skip


def test_results_and_errors_are_lines(capsys: Any) -> None:
    output = JsonOutput()
    output.pulled("m", Path("/models/m"), 1.26, present=False)
    output.skipped("m", "No room.", "Delete others.")
    output.failed("m\x1b[2J", "Not there.", "")
    output.unservable("m", "No engine.", "")
    assert printed(capsys) == [
        {"event": "pulled", "model": "m", "folder": "/models/m", "seconds": 1.3},
        {"event": "skipped", "model": "m", "message": "No room.", "hint": "Delete others."},
        {"event": "failed", "model": "m\x1b[2J", "message": "Not there.", "hint": ""},
        {"event": "unservable", "model": "m", "message": "No engine.", "hint": ""},
    ]
