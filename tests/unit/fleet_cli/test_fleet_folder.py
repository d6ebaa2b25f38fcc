"""The folder of a fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_cli.fleet_folder import folder_of


def test_the_port_is_that_of_the_option_the_environment_or_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "")
    assert folder_of(None) == Path("run/8000")
    monkeypatch.delenv("PORT")
    (tmp_path / ".env").write_text("PORT=8123\n")
    assert folder_of(None) == Path("run/8123")
    monkeypatch.setenv("PORT", "8124")
    assert folder_of(None) == Path("run/8124")
    assert folder_of(9) == Path("run/9")
