"""The lock that allows one fleet in a folder at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_local import run_lock
from fleet_local.errors import StartError


def test_a_second_fleet_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "8000"
    with run_lock.locked(folder):
        assert run_lock.is_locked(folder)
        with (
            pytest.raises(StartError, match="Another `modelfleet up`") as caught,
            run_lock.locked(folder),
        ):
            raise AssertionError
        assert "--port" in caught.value.hint
        with run_lock.locked(tmp_path / "run" / "8001"):
            pass
    assert not run_lock.is_locked(folder)
    with run_lock.locked(folder):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with (
        pytest.raises(StartError, match="Cannot write logs"),
        run_lock.locked(tmp_path / "run" / "1"),
    ):
        raise AssertionError
