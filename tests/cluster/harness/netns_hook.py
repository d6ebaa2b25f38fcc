"""A pytest hook that runs tests in the run's network namespace; conftests import it.

pytest calls a conftest's hook only for tests below its folder, so other tests stay in the
machine's network.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from harness.netns import Namespace

NETWORK = pytest.StashKey[Namespace]()
"""The network namespace, while there is one."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run the test and its fixtures in the network namespace."""
    if present := item.config.stash.get(NETWORK, None):
        present.enter()
    try:
        return (yield)
    finally:
        if present := item.config.stash.get(NETWORK, None):
            present.leave()
