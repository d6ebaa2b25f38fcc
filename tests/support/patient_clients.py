"""The default timeout of all httpx clients of a test run.

httpx's own, 5 s, is too short where several groups of tests run at once.
"""

from __future__ import annotations

import pytest
from httpx import _config

SECONDS = 60.0


def pytest_configure(config: pytest.Config) -> None:
    """Change the default, which clients copy when they are created."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "read", "write", "pool"):
        patch.setattr(_config.DEFAULT_TIMEOUT_CONFIG, name, SECONDS)
    config.add_cleanup(patch.undo)
