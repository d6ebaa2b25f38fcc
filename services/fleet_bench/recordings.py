"""Recordings to transcribe: files of the user, else the samples of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file: its name, from which servers know the format, and its bytes."""

    name: str
    data: bytes


def read(paths: Sequence[Path]) -> list[Recording]:
    """The files of `paths`; without any the three samples, 2.6 to 4.1 s of English and German.

    Raises OSError.
    """
    if paths:
        return [Recording(path.name, path.read_bytes()) for path in paths]
    folder = files("fleet_bench").joinpath("samples")
    found = sorted((entry for entry in folder.iterdir()), key=lambda entry: entry.name)
    return [Recording(entry.name, entry.read_bytes()) for entry in found]
