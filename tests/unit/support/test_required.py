"""Requirements of tests: skipped without them here, failed in CI."""

from __future__ import annotations

from typing import Any

import pytest

from support import required


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("", pytest.skip.Exception), ("true", pytest.fail.Exception), ("1", pytest.fail.Exception)],
)
def test_a_missing_program(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: Any) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no-such-program"):
        required.require_program("sh", "no-such-program")


def test_a_program_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    required.require_program("sh")


def test_rights_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(pytest.fail.Exception, match="needs root"):
        required.require_root()
