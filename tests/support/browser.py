"""Chromium for the tests of the console."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.required import did_not_run

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
"""Names of Chromium on Debian and on other systems."""
ARGUMENTS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""With a microphone that plays a tone."""


def program() -> str | None:
    """The browser, None if none is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's Browser; without it or Chromium the test is skipped."""
    found = program()
    if found is None:
        did_not_run("needs chromium; `apt-get install chromium` installs it on Debian")
    api = pytest.importorskip("playwright.sync_api", reason="run `make test-console`")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()
