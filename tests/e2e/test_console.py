"""The console of the routers on the node, in a browser, while a model goes down and comes back.

Only where `make test-console` has installed what drives Chromium.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness.fleet import CHAT, EMBEDDING, Fleet
from harness.models import API, KIND
from support.browser import chromium, is_installed
from support.console_page import SCREENSHOTS, WIDE

START_MS = 240_000
NAME = "minilm"


@pytest.fixture
def page() -> Iterator[Any]:
    """A tab, whose pictures are kept."""
    if not is_installed():
        pytest.skip("needs chromium, and `make test-console` before")
    with chromium() as browser:
        context = browser.new_context(viewport={"width": WIDE, "height": 900})
        context.set_default_timeout(START_MS)
        yield context.new_page()
        context.close()


def row_of(page: Any, model: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=model, exact=True))


def test_a_model_that_sleeps_and_wakes_is_watched(fleet: Fleet, page: Any) -> None:
    before = fleet.tenant.get(API, KIND, NAME)["spec"].get("replicas", 1)
    page.goto(f"{fleet.url}/")
    row = row_of(page, EMBEDDING)
    row.get_by_text("ready", exact=True).wait_for()
    try:
        fleet.patch(NAME, replicas=0)
        row.get_by_text("scaled to zero", exact=True).wait_for()
        fleet.kubectl.modelfleet("load", NAME, "--no-wait")
        row.get_by_text(re.compile("starting|fetching|loading|warming")).first.wait_for()
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "cluster-wakes.png", full_page=True)
        row.get_by_text("ready", exact=True).wait_for()
        row.get_by_role("img", name=re.compile("Start by stage: .*load")).wait_for()
    finally:
        fleet.patch(NAME, replicas=before)
        fleet.wait_until_ready(NAME)
    assert "ready" in row_of(page, CHAT).inner_text()
    row.get_by_role("link").click()
    page.get_by_role("heading", name="Conditions").wait_for()
    assert page.get_by_role("button", name="Load").count() == 0  # needs a key here
    page.screenshot(path=SCREENSHOTS / "cluster-model.png", full_page=True)
