"""File modes bind this thread, whoever runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.capabilities import bound_by_file_modes


def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "protected"
    folder.mkdir(mode=0o555)
    with bound_by_file_modes(), pytest.raises(PermissionError):
        (folder / "file").touch()
    if os.geteuid() == 0:
        (folder / "file").touch()
