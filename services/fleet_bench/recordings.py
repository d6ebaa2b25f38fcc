"""Recordings to transcribe: given files, or the samples of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AudioFile:
    """An audio file; servers tell the format by the suffix of `name`."""

    name: str
    data: bytes


def read(paths: Sequence[Path]) -> list[AudioFile]:
    """The files of `paths`, or three samples of 2.6 to 4.1 s (two English). Raises OSError."""
    if paths:
        return [AudioFile(path.name, path.read_bytes()) for path in paths]
    folder = files("fleet_bench").joinpath("samples")
    found = sorted((entry for entry in folder.iterdir()), key=lambda entry: entry.name)
    return [AudioFile(entry.name, entry.read_bytes()) for entry in found]
