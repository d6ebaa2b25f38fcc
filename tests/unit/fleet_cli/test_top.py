"""The order and the sums of `modelfleet top`."""

from __future__ import annotations

import io
from dataclasses import replace

import httpx
import pytest
from rich.console import Console

from fleet_cli.status import updates
from fleet_cli.status_rows import Counters, Row
from fleet_cli.top import busiest_first, totals, view

ROW = Row("a", "chat", "ready", "openvino", "cpu", 0, 0, 0.0, 1 << 20)
ROWS = [
    ROW,
    replace(ROW, model="asleep", state="scaled_to_zero", memory_bytes=None),
    replace(ROW, model="waits", state="starting", in_flight=2, held=2, reason="loading, 3 s"),
    replace(ROW, model="busy", in_flight=1, tokens_per_second=12.5),
]


def test_the_busiest_model_is_the_first() -> None:
    assert [row.model for row in busiest_first(ROWS)] == ["busy", "waits", "a", "asleep"]


def test_totals() -> None:
    assert totals(ROWS) == "2 of 4 models ready, 3 in flight, 2 held, 12.5 tokens/s, 3 MiB"
    money = [
        replace(ROWS[0], usage_per_hour=1.0, servers_per_hour=0.5, currency="USD"),
        replace(ROWS[1], servers_per_hour=0.25, currency="USD"),
        replace(ROWS[2], usage_per_hour=0.1, currency="EUR"),
    ]
    assert totals(money).endswith(" MiB, 0.10 EUR/h, 1.75 USD/h")
    hidden = replace(ROW, in_flight=None, held=None, tokens_per_second=None)
    assert totals([hidden]) == "1 of 1 models ready, - in flight, - held, - tokens/s, 1 MiB"


def test_the_view_has_all_of_it() -> None:
    screen = io.StringIO()
    Console(file=screen, width=140).print(view(ROWS))
    shown = screen.getvalue()
    assert shown.startswith("2 of 4 models ready")
    for text in ("busy", "scaled_to_zero", "loading, 3 s", "12.5"):
        assert text in shown


def test_a_reading_that_fails_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    readings = iter([ROWS, httpx.ConnectError("refused"), ValueError("no router"), ROWS[:1]])
    reasons: list[str] = []

    def read(before: object) -> tuple[list[Row], Counters]:
        found = next(readings)
        if isinstance(found, Exception):
            raise found
        return found, Counters()

    found = updates(read, 1.0, None, reasons.append)
    assert [next(found), next(found)] == [ROWS, ROWS[:1]]
    assert reasons == ["refused", "no router"]
    screen = io.StringIO()
    Console(file=screen, width=140).print(view(ROWS, "refused"))
    assert "refused" in screen.getvalue()


@pytest.mark.parametrize(("before", "times"), [([], None), ([ROWS], 3)])
def test_the_first_reading_and_a_number_of_them_do_not_fail_silently(
    monkeypatch: pytest.MonkeyPatch, before: list[list[Row]], times: int | None
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    readings = iter(before)

    def read(last: object) -> tuple[list[Row], Counters]:
        for found in readings:
            return found, Counters()
        raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        list(updates(read, 1.0, times, lambda reason: None))
