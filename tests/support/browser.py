"""Chromium for the tests of the console."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.required import did_not_run

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
"""Names of Chromium on Debian and on other systems."""
ARGUMENTS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""With a microphone that plays a tone."""


PACKAGES = Path(__file__).parents[2] / "build" / "console" / "packages"
"""Where `make test-console` installs Playwright, next to the environment."""


def is_installed() -> bool:
    """Whether both Playwright and a browser are."""
    return program() is not None and _has_playwright()


def program() -> str | None:
    """The browser, None if none is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's Browser; without it or Chromium the test is skipped."""
    found = program()
    if found is None:
        did_not_run("needs chromium; `apt-get install chromium` installs it on Debian")
    _has_playwright()
    api = pytest.importorskip("playwright.sync_api", reason="run `make test-console`")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


def _has_playwright() -> bool:
    """Whether it can be imported, if need be from PACKAGES."""
    if PACKAGES.is_dir() and str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
    return importlib.util.find_spec("playwright") is not None
