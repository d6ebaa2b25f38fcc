"""The load report: written by a router, read by the operator."""

from __future__ import annotations

import pytest

from fleet_contract.api.load_report import ReportedLoad, parse, render


def test_a_report_is_read_as_it_was_written() -> None:
    loads = {"org/a": ReportedLoad(3, 0.0), 'say "x"': ReportedLoad(0, 12.3456)}
    assert parse(render(loads)) == {**loads, 'say "x"': ReportedLoad(0, 12.346)}
    assert parse(b'{"models": {}, "more": 1}') == {}


def test_the_model_that_was_used_last_is_told_apart() -> None:
    loads = parse(render({"a": ReportedLoad(0, 2.048), "b": ReportedLoad(0, 2.05)}))
    assert loads["a"].idle_seconds < loads["b"].idle_seconds


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"null", b'{"models": []}', b'{"models": {"a": 1}}',
        b'{"models": {"a": {"in_flight": 1}}}',
        b'{"models": {"a": {"in_flight": "x", "idle_seconds": 0}}}',
        b'{"models": {"a": {"in_flight": -1, "idle_seconds": 0}}}',
        b'{"models": {"a": {"in_flight": 1, "idle_seconds": -1}}}',
        b'{"models": {"a": {"in_flight": 1, "idle_seconds": "inf"}}}',
        b'{"models": {"a": {"in_flight": 1, "idle_seconds": "nan"}}}',
    ],
)  # fmt: skip
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(content)


def test_a_report_that_was_cut_off_is_refused() -> None:
    whole = render({f"org/{n}": ReportedLoad(n, 0.0) for n in range(20)})
    for end in range(len(whole)):
        with pytest.raises(ValueError, match=r"."):
            parse(whole[:end])
