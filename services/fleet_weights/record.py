"""The record in a folder of weights, `.modelfleet.json`: sources, files and their sizes.

It is written before the folder gets its final name, so that a file that is missing or of another
size was damaged afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORD = ".modelfleet.json"


def write(folder: Path, about: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the record of `folder`: `files` maps paths to `{"bytes": ..., ...}`."""
    (folder / RECORD).write_text(json.dumps({**about, "files": files}, indent=1) + "\n")


def measure(folder: Path) -> dict[str, dict[str, int]]:
    """The sizes of all files in `folder`, in the form that `write` takes."""
    return {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def damage(folder: Path) -> str | None:
    """A description of the first recorded file that is missing or of another size, else None.

    A folder without a record counts as undamaged.
    """
    try:
        files = json.loads((folder / RECORD).read_text())["files"]
        sizes = {str(name): int(file["bytes"]) for name, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for name, size in sizes.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes, not {size}"
    return None


def is_intact(folder: Path) -> bool:
    """Whether `folder` exists and no recorded file of it is damaged."""
    return folder.is_dir() and damage(folder) is None
