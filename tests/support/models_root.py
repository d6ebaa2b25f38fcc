"""The folder in which tests keep real weights."""

from __future__ import annotations

import os
from pathlib import Path


def models_root() -> Path:
    """MODELS_DIR, else a cache folder outside the tree."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MODELS_DIR") or cache / "modelfleet" / "models")
