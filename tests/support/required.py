"""Requirements of tests: a test without them is skipped locally and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def did_not_run(why: str) -> NoReturn:
    """Skip the running test or fixture; with CI set in the environment, fail it instead."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def require_program(*names: str) -> None:
    """Skip or fail without one of these programs on the PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        did_not_run(f"needs {', '.join(missing)}; `make test-deps` installs it on Debian")


def require_root() -> None:
    """Skip or fail without the rights of root."""
    if os.geteuid() != 0:
        did_not_run("needs root; run the tests with sudo")
