"""A small repository, and its conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_prepare import whisper
from fleet_prepare.conversion import Conversion
from support.whisper_repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    return Repository(folder)


@pytest.fixture
def convert(repository: Repository, tmp_path: Path) -> Callable[..., Path]:
    """Writes the repository, converts it and returns the folder."""

    def run(
        quantization: str = "float32",
        progress: Callable[[int, int | None], None] = lambda done, total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Path:
        target = tmp_path / "converted"
        target.mkdir()
        whisper.convert(Conversion(repository.write(), target, quantization, progress, check, {}))
        return target

    return run
