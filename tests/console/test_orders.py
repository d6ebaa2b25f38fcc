"""Models that start and stop while they are watched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from support.console_page import ASLEEP, RERANK, Console, key_of
from support.local_fleet import CHAT, EMBEDDING, Fleet
from support.waiting import until

START_MS = 300_000


def row_of(page: Any, model: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=model, exact=True))


@pytest.mark.parametrize("model", [EMBEDDING])
def test_a_model_that_goes_down_and_comes_back_is_watched(
    console: Console, fleet: Fleet, model: str
) -> None:
    page = console.open()
    row = row_of(page, model)
    row.get_by_text("ready", exact=True).wait_for()

    def is_down() -> bool:
        # One that starts again at once may be ready before the page asks for its state.
        with suppress(LookupError, psutil.NoSuchProcess):
            fleet.server(model).kill()
        return row.get_by_text("ready", exact=True).count() == 0

    until(is_down, 60, every=2)
    console.screenshot("down-1440-light")
    row.get_by_text("ready", exact=True).wait_for(timeout=START_MS)
    assert "ready" in row_of(page, CHAT).inner_text()


def test_a_cold_model_wakes_with_its_progress(console: Console, fleet: Fleet) -> None:
    page = console.open()
    row = row_of(page, ASLEEP)
    row.get_by_text("scaled to zero", exact=True).wait_for()
    body = {"model": ASLEEP, "query": "w1", "documents": ["w1", "w2"]}
    login = {"authorization": f"Bearer {key_of('monitor')}"}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            httpx.post, f"{fleet.base_url}/v1/rerank", json=body, headers=login, timeout=300
        )
        row.get_by_text("loading").wait_for()
        console.screenshot("wakes-1440-light")
        row.get_by_text("ready", exact=True).wait_for(timeout=START_MS)
        assert answer.result().status_code == 200
    row.get_by_role("img", name="Start by stage: ").wait_for()


def test_a_model_is_unloaded_loaded_and_scaled(console: Console) -> None:
    page = console.open(f"model/{RERANK.replace('/', '%2F')}")
    facts = page.locator(".facts")
    facts.get_by_text("ready", exact=True).wait_for()
    page.get_by_role("button", name="Unload").click()
    facts.get_by_text("scaled to zero", exact=True).wait_for(timeout=START_MS)
    assert console.violations() == []
    page.get_by_role("button", name="Load", exact=True).click()
    facts.get_by_text("ready", exact=True).wait_for(timeout=START_MS)
    page.get_by_role("spinbutton", name="Servers").fill("2")
    page.get_by_role("button", name="Scale").click()
    facts.get_by_text("2/2").wait_for(timeout=START_MS)
    console.screenshot("scaled-1440-light")
    page.get_by_role("spinbutton", name="Servers").fill("1")
    page.get_by_role("button", name="Scale").click()
    facts.get_by_text("1/1").wait_for(timeout=START_MS)


def test_a_key_without_the_right_has_no_buttons(console: Console) -> None:
    page = console.open(f"model/{CHAT.replace('/', '%2F')}", key="narrow")
    page.get_by_role("link", name="Try it").wait_for()
    for name in ("Load", "Unload", "Scale"):
        assert page.get_by_role("button", name=name).count() == 0
