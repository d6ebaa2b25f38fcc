"""The progress of a measurement as JSON lines."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from fleet_bench import progress


def test_json_lines_count_requests_at_most_once_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter((0.0, 0.4, 0.9, 1.1, 1.5, 2.2))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with progress.progress("chat", "acme/m", 9, as_json=True) as advance:
        for _ in range(5):
            advance()
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert [(line["done"], line["total"]) for line in lines] == [(3, 9), (5, 9)]
    assert lines[0]["event"] == "progress"
    assert (lines[0]["workload"], lines[0]["model"]) == ("chat", "acme/m")
