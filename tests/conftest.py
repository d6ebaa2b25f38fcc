"""Fixtures every suite may use; nothing runs and no tool is asked for at import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.models_root import models_root


def pytest_configure(config: pytest.Config) -> None:
    """Processes of this run end with it."""
    config.pluginmanager.import_plugin("support.guardian")


def pytest_itemcollected(item: pytest.Item) -> None:
    """What uses real weights is marked; a flaky test names its bound and its reason."""
    if "demo_weights" in getattr(item, "fixturenames", ()):
        item.add_marker("weights")
    quarantine = item.get_closest_marker("flaky")
    if quarantine is not None and not {"reruns", "reason"} <= quarantine.kwargs.keys():
        raise pytest.UsageError(f"{item.nodeid}: flaky needs reruns=N and reason=TEXT")


@pytest.fixture(scope="session")
def demo_weights() -> Callable[[str], Path]:
    """Folder of a catalog model's real weights, by id or alias; fetched when not there yet."""
    from fleet_contract import catalog
    from fleet_weights.fetch import fetch
    from fleet_weights.store import Store

    known = catalog.load()
    store = Store(models_root())
    return lambda name: fetch(catalog.resolve([name], known)[0], store)
