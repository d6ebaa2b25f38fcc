"""Paths of the project and of its cache."""

from __future__ import annotations

import os
from pathlib import Path

CLUSTER = Path(__file__).resolve().parents[1]
REPOSITORY = CLUSTER.parents[1]
TOOLS = CLUSTER / "tools"


def cache_root() -> Path:
    """The project's cache folder, outside the tree: XDG_CACHE_HOME, else ~/.cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "modelfleet"
