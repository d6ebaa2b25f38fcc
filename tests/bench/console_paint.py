"""How long Chromium takes to show the console of a router with 20 models.

Each row is a navigation to `/`: in a new session without a cache, and again in the same one, whose
files are revalidated. First paint is Chromium's first-contentful-paint, `listed` is the time until
the models are in the table; both in ms after the start of the navigation. Needs Chromium, and
Playwright from `make test-console`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import stack

from fleet_contract.spec import ModelSpec
from support.browser import chromium
from support.console_page import HEIGHTS, WIDE

MODELS = 20
PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    const paint = list.getEntries().find((one) => one.name === "first-contentful-paint");
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""


def shown(page: Any, navigate: Callable[[], object]) -> tuple[float, float]:
    """The first paint of a navigation, and when the models are listed, in ms."""
    navigate()
    page.get_by_role("rowheader").nth(MODELS - 1).wait_for()
    listed: float = page.evaluate("performance.now()")
    return page.evaluate(PAINT), listed


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--times", type=int, default=20)
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    models = {
        f"http://127.0.0.{number}:9": ModelSpec(model=f"acme/model-{number}", task="chat")
        for number in range(1, MODELS + 1)
    }
    runs: dict[str, list[tuple[float, float]]] = {"new session": [], "again": []}
    with stack.router(models) as url, chromium() as browser:
        for _ in range(options.times + 1):
            context = browser.new_context(viewport={"width": WIDE, "height": HEIGHTS[WIDE]})
            page = context.new_page()
            runs["new session"].append(shown(page, lambda at=page: at.goto(f"{url}/")))
            runs["again"].append(shown(page, page.reload))
            context.close()
    rows: list[list[Any]] = []
    for name, found in runs.items():
        # Without the first one, which fills the caches of router and browser.
        paints, listings = zip(*found[1:], strict=True)
        rows.append([name, statistics.median(paints), max(paints), statistics.median(listings),
                     max(listings)])  # fmt: skip
    columns = ["navigation", "first paint, median ms", "most", "listed, median ms", "most listed"]
    stack.show("The console in Chromium", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
