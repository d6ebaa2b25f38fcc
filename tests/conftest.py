"""Fixtures of all suites; importing this module starts nothing and needs no tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.models_root import models_root


def pytest_configure(config: pytest.Config) -> None:
    """Kill all processes of this run at its end; share what clients need; let them wait."""
    config.pluginmanager.import_plugin("support.guardian")
    config.pluginmanager.import_plugin("support.shared_ssl_context")
    config.pluginmanager.import_plugin("support.patient_clients")
    # vLLM leaves the closing of its sockets' context to the garbage collector.
    config.addinivalue_line(
        "filterwarnings", "ignore:.*Context.__del__:pytest.PytestUnraisableExceptionWarning"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests that use real weights; check that flaky tests have a bound and a reason."""
    if "demo_weights" in getattr(item, "fixturenames", ()):
        item.add_marker("weights")
    quarantine = item.get_closest_marker("flaky")
    if quarantine is not None and not {"reruns", "reason"} <= quarantine.kwargs.keys():
        raise pytest.UsageError(f"{item.nodeid}: flaky needs reruns=N and reason=TEXT")


@pytest.fixture(scope="session")
def demo_weights() -> Callable[[str], Path]:
    """Folder of a catalog model's real weights, by id or alias; fetched if missing."""
    from fleet_contract import catalog
    from fleet_weights.fetch import fetch
    from fleet_weights.store import Store

    known = catalog.load()
    store = Store(models_root())
    return lambda name: fetch(catalog.resolve([name], known)[0], store)
