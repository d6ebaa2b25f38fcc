"""Fixtures every suite may use; nothing runs and no tool is asked for at import."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def models_root() -> Path:
    """Where tests keep real weights: MODELS_DIR, else a cache folder outside the tree."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MODELS_DIR") or cache / "modelfleet" / "models")


@pytest.fixture(scope="session")
def demo_weights() -> Callable[[str], Path]:
    """Folder of a catalog model's real weights, by id or alias; fetched when not there yet."""
    from fleet_contract import catalog
    from fleet_weights.fetch import fetch
    from fleet_weights.store import Store

    known = catalog.load()
    store = Store(models_root())
    return lambda name: fetch(catalog.resolve([name], known)[0], store)
