"""Requirements of tests: without them a test is skipped locally and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def did_not_run(why: str) -> NoReturn:
    """Skip the running test or fixture; fail it if CI is set in the environment."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def require_program(*names: str) -> None:
    """Skip or fail unless all these programs are on the PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        did_not_run(f"needs {', '.join(missing)}; `make test-deps` installs it on Debian")


def require_root() -> None:
    """Skip or fail unless the process runs as root."""
    if os.geteuid() != 0:
        did_not_run("needs root; run the tests with sudo")
