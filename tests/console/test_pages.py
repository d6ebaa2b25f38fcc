"""Every page in a browser: content, accessibility, no sideways scrolling, and screenshots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from support.console_page import ASLEEP, NARROW, RERANK, SPEECH, STOPPED, WIDE, Console, key_of
from support.local_fleet import CHAT, EMBEDDING, Fleet

PLACES = {
    "fleet": ("", "Fleet", "table.fleet a"),
    "model": (f"model/{CHAT}", CHAT, ".charts figure:nth-child(4) canvas"),
    "usage": ("usage", "Usage", "[aria-label=Usage] td"),
    "requests": ("requests", "Requests", "[aria-label='Last requests'] td"),
    "play-chat": (f"play/{CHAT}", "Playground", ".chat"),
    "play-embedding": (f"play/{EMBEDDING}", "Playground", "button:has-text('Compare')"),
    "play-rerank": (f"play/{RERANK}", "Playground", "button:has-text('Rank')"),
    "play-speech": (f"play/{SPEECH}", "Playground", "button:has-text('Transcribe')"),
}
"""Address, heading, and an element that is there once the page has its data."""
PICTURED = [(WIDE, "light"), (NARROW, "light"), (WIDE, "dark"), (NARROW, "dark")]
FIRST_PAINT = """
    new Promise((done) => new PerformanceObserver((list) => {
        const paint = list.getEntries().find((one) => one.name === "first-contentful-paint");
        if (paint) done(paint.startTime);
    }).observe({type: "paint", buffered: true}))
"""


@pytest.fixture(scope="module", autouse=True)
def traffic(fleet: Fleet) -> None:
    """Some requests, good and bad, for charts and tables."""
    login = {"authorization": f"Bearer {key_of('monitor')}"}
    with httpx.Client(base_url=fleet.base_url, headers=login, timeout=300) as http:
        message = {"role": "user", "content": "Count to ten."}
        chat = {"model": CHAT, "messages": [message], "max_tokens": 24}
        for number in range(4):
            http.post("/v1/chat/completions", json={**chat, "stream": number % 2 == 0})
            http.post("/v1/embeddings", json={"model": EMBEDDING, "input": ["a", "b"] * number})
        http.post("/v1/chat/completions", json={**chat, "temperature": "hot"})
        http.post("/v1/chat/completions", json={**chat, "model": STOPPED})
        ranked = {"model": RERANK, "query": "w1", "documents": ["w1 w2", "w3"]}
        http.post("/v1/rerank", json=ranked).raise_for_status()


@pytest.mark.parametrize(("width", "scheme"), PICTURED, ids=lambda value: str(value))
def test_pages_are_accessible_and_fit(
    open_console: Callable[..., Console], width: int, scheme: str
) -> None:
    console = open_console(width, scheme)
    page = console.open()
    for name, (place, heading, element) in PLACES.items():
        page.goto(f"{console.base_url}/#/{place.replace('/', '%2F').replace('%2F', '/', 1)}")
        page.get_by_role("heading", level=1, name=heading, exact=True).wait_for()
        page.locator(element).first.wait_for()
        assert console.violations() == [], name
        assert not console.is_too_wide(), name
        console.screenshot(f"{name}-{width}-{scheme}")


def test_the_form_for_a_key_is_accessible_and_a_wrong_key_is_refused(console: Console) -> None:
    page = console.open(key="")
    field = page.get_by_label("Key", exact=True)
    field.wait_for()
    assert console.violations() == []
    console.screenshot("key-1440-light")
    field.fill("wrong")
    field.press("Enter")
    page.get_by_role("alert").get_by_text("Invalid API key.").wait_for()
    page.reload()
    page.get_by_role("alert").wait_for()
    field.fill(key_of("monitor"))
    field.press("Enter")
    page.get_by_role("link", name=CHAT).wait_for()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert list(page.evaluate("({...sessionStorage})").values()) == [key_of("monitor")]
    page.get_by_role("button", name="Forget").click()
    field.wait_for()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_fleet_at_a_glance(console: Console) -> None:
    page = console.open()
    page.get_by_role("link", name=CHAT).wait_for()
    rows = {
        row.get_by_role("rowheader").get_by_role("link").inner_text(): row.inner_text()
        for row in page.get_by_role("table", name="Models").get_by_role("row").all()[1:]
    }
    assert rows.keys() == {CHAT, EMBEDDING, SPEECH, RERANK, STOPPED, ASLEEP}
    assert "openvino" in rows[CHAT]
    assert "ready" in rows[CHAT]
    assert "MiB" in rows[CHAT]
    assert "stopped" in rows[STOPPED]
    assert "0.50 EUR/h" in rows[RERANK]
    bar = page.get_by_role("img", name="Start by stage: ").first
    assert "load" in bar.get_attribute("aria-label")
    page.get_by_label("Find a model").fill("MiniLM")
    page.get_by_role("link", name=CHAT).wait_for(state="detached")
    page.get_by_role("link", name=EMBEDDING).click()
    page.get_by_role("heading", level=1, name=EMBEDDING).wait_for()
    # As after the load of a document: the next Tab is on the new page.
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_a_model_has_charts_requests_and_a_manifest_to_copy(console: Console) -> None:
    page = console.open(f"model/{CHAT.replace('/', '%2F')}")
    page.locator("canvas").nth(3).wait_for()
    # Lines are drawn: not every pixel of the first chart has the same colour.
    colours = page.evaluate(
        """() => { const c = document.querySelector("canvas");
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return new Set(new Uint32Array(d.buffer)).size; }"""
    )
    assert colours > 5
    page.get_by_role("button", name="Copy the manifest").click()
    assert f"model: {CHAT}" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Python").click()
    assert (
        "from openai import OpenAI"
        in page.get_by_label("the Python request", exact=True).inner_text()
    )
    statuses = page.get_by_role("region", name="Last requests").get_by_role("row")
    assert any("\t400\t" in row.inner_text() for row in statuses.all())


def test_usage_has_its_price(console: Console) -> None:
    page = console.open(f"model/{RERANK.replace('/', '%2F')}")
    page.locator(".facts").get_by_text("0.50 EUR for an hour of a server").wait_for()
    page.get_by_role("link", name="Usage").click()
    usage = page.get_by_role("region", name="Usage")
    usage.get_by_role("row", name=RERANK).get_by_text(re.compile(r"^0\.\d+ EUR$")).wait_for()


def test_requests_can_be_reduced_to_errors(console: Console) -> None:
    page = console.open("requests")
    table = page.get_by_role("region", name="Last requests")
    table.get_by_text("400", exact=True).first.wait_for()
    page.get_by_label("Errors only").check()
    table.get_by_text("200", exact=True).first.wait_for(state="detached")
    assert table.get_by_text("503", exact=True).count() >= 1


def test_a_key_without_metrics_sees_its_own(console: Console) -> None:
    page = console.open(key="narrow")
    page.get_by_role("link", name=CHAT).wait_for()
    assert page.get_by_role("link", name=EMBEDDING).count() == 0
    page.get_by_text("Load and throughput are shown to keys").wait_for()
    page.get_by_role("link", name=CHAT).click()
    page.get_by_text("Charts, servers and the manifest are shown").wait_for()
    assert page.locator("canvas").count() == 0
    page.get_by_role("link", name="Requests").click()
    page.get_by_text("No requests.").wait_for()
    page.get_by_role("link", name="Usage").click()
    page.get_by_text("requestsPerMinute").wait_for()


def test_the_keyboard_reaches_everything(console: Console) -> None:
    page = console.open()
    page.get_by_role("link", name=CHAT).wait_for()
    page.reload()
    page.get_by_role("link", name=CHAT).wait_for()
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert reached[0] == "Skip to the content"
    assert reached[1:5] == ["Fleet", "Playground", "Usage", "Requests"]
    assert reached[5] == "Forget"
    assert reached[7] in (RERANK, ASLEEP)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1).wait_for()


def test_the_policy_stops_what_the_page_would_never_do(open_console: Any) -> None:
    console = open_console()
    page = console.open()
    done = page.evaluate(
        """async () => {
            const script = document.createElement("script");
            try { script.textContent = "window.hacked = 1"; document.body.append(script); } catch {}
            try { document.body.innerHTML += "<img src=x onerror='window.hacked = 1'>"; } catch {}
            let reached = true;
            try { await fetch("http://127.0.0.1:1/"); } catch { reached = false; }
            return [window.hacked ?? null, reached];
        }"""
    )
    assert done == [None, False]
    assert any("Content Security Policy" in one for one in console.complaints)
    console.complaints.clear()
    console.hosts.discard("127.0.0.1:1")


def test_the_first_paint_is_measured(open_console: Callable[..., Console], fleet: Fleet) -> None:
    console = open_console()
    sizes: dict[str, int] = {}
    console.page.on(
        "response",
        lambda response: sizes.setdefault(
            response.url.removeprefix(fleet.base_url),
            int(response.headers.get("content-length", "0")),
        ),
    )
    console.page.goto(f"{fleet.base_url}/")
    paint = console.page.evaluate(FIRST_PAINT)
    page_files = {path: size for path, size in sizes.items() if "/api/" not in path}
    assert {"/", "/console/app.js", "/console/app.css"} <= page_files.keys()
    assert 0 < sum(page_files.values()) < 200_000
    print(json.dumps({"first_contentful_paint_ms": paint, "bytes": page_files}))
