"""Puts tests into the run's network namespace; the conftests of tests that need it take the hook.

A hook of a conftest is asked for its own folder's tests only: all others stay outside.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from harness.netns import Namespace

NETWORK = pytest.StashKey[Namespace]()
"""Where `fixtures.network` keeps the namespace while there is one."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The test, its fixtures included, inside."""
    if present := item.config.stash.get(NETWORK, None):
        present.enter()
    try:
        return (yield)
    finally:
        if present := item.config.stash.get(NETWORK, None):
            present.leave()
