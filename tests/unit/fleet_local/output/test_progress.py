"""Progress in a log and on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Rich

from fleet_local.output.console import Console
from fleet_local.output.progress import LINE_SECONDS, MIB, Bars, Lines, amount, progress_display
from fleet_prepare.stage import PrepareStage


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (0, None, "fetching m: 0 MiB"),
        (3 * MIB, 12 * MIB, "fetching m: 3 of 12 MiB (25%)"),
        (12 * MIB, 12 * MIB, "fetching m: 12 of 12 MiB (100%)"),
    ],
)
def test_amounts(done: int, total: int | None, text: str) -> None:
    assert amount(PrepareStage.FETCHING, "m", done, total) == text


def test_lines_are_printed_at_start_and_end_and_periodically() -> None:
    now = 0.0
    screen = io.StringIO()
    lines = Lines(Console(Rich(file=screen, force_terminal=False)), clock=lambda: now)
    report = lines.begin("m")
    for now in (0.0, 1.0, LINE_SECONDS, LINE_SECONDS + 1, 2 * LINE_SECONDS):
        report(PrepareStage.FETCHING, int(now) * MIB, 10 * MIB)
    report(PrepareStage.CONVERTING, 0, None)
    lines.end("m")
    assert screen.getvalue().splitlines() == [
        "fetching m",
        "fetching m: 5 of 10 MiB (50%)",
        "fetching m: 10 of 10 MiB (100%)",
        "fetched m",
        "converting m",
        "converted m",
    ]


def test_a_terminal_gets_bars() -> None:
    screen = io.StringIO()
    console = Console(Rich(file=screen, force_terminal=True, width=100))
    with progress_display(console) as display:
        assert isinstance(display, Bars)
        report = display.begin("acme/chat")
        report(PrepareStage.FETCHING, 5 * MIB, 10 * MIB)
        report(PrepareStage.CONVERTING, 1 * MIB, 10 * MIB)
    assert "acme/chat" in screen.getvalue()
    assert "Converting acme/chat" in screen.getvalue()
    assert "5.2/10.5 MB" in screen.getvalue()
