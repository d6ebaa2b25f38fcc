"""Debian's Chromium, a real fleet with keys, and pages of its console.

`make test-console` installs Playwright beside the environment, and axe-core for the checks of
accessibility.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from support.browser import chromium
from support.console_page import (
    HEIGHTS,
    KEYS,
    SPEECH,
    WIDE,
    Console,
    key_of,
    manifests,
    write_ranker,
)
from support.local_fleet import CHAT, EMBEDDING, READY, START_SECONDS, Fleet, running_fleet

WAIT_MS = 120_000


@pytest.fixture(scope="session")
def fleet(demo_weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Chat, embeddings, speech, a ranker and a stopped model; keys `monitor` and `narrow`."""
    models = demo_weights(EMBEDDING).parent
    folder = tmp_path_factory.mktemp("fleet")
    write_ranker(folder / "ranker")
    (folder / "fleet.yaml").write_text(manifests(folder / "ranker"))
    keys = folder / "keys.yaml"
    entries = [
        {"name": name, "sha256": hashlib.sha256(key_of(name).encode()).hexdigest(), **more}
        for name, more in KEYS.items()
    ]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    named = ",".join((CHAT, EMBEDDING, SPEECH))
    with running_fleet(
        models, folder, "-f", "fleet.yaml", "--models", named, KEYS_FILE=str(keys)
    ) as started:
        started.wait_for(READY, START_SECONDS)
        yield started


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, with a microphone that plays a tone."""
    with chromium() as found:
        yield found


@pytest.fixture
def open_console(browser: Any, fleet: Fleet) -> Iterator[Callable[..., Console]]:
    """`open_console(width, scheme)` is a new tab with an empty session."""
    contexts: list[tuple[Any, Console]] = []

    def make(width: int = WIDE, scheme: str = "light", **options: Any) -> Console:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHTS[width]}, color_scheme=scheme,
            permissions=["microphone", "clipboard-read", "clipboard-write"], **options,
        )  # fmt: skip
        context.set_default_timeout(WAIT_MS)
        console = Console(context.new_page(), fleet.base_url)
        contexts.append((context, console))
        return console

    yield make
    for context, console in contexts:
        assert console.complaints == []
        assert console.hosts <= {fleet.base_url.removeprefix("http://")}
        context.close()


@pytest.fixture
def console(open_console: Callable[..., Console]) -> Console:
    """A wide window."""
    return open_console()
