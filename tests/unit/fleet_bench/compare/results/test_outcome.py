"""Rounds to rows: medians, ratios, and what is left out."""

from __future__ import annotations

import pytest

from fleet_bench.compare.results.outcome import ComparedFigure, Rounds, rows
from fleet_bench.load import Run
from fleet_bench.sample import ResponseStats, Sample
from fleet_bench.summary import Summary, summarise


def chat_round(seconds: float, first: float, tokens: int) -> Summary:
    answer = ResponseStats(first=first, tokens=tokens)
    return summarise(Run([Sample(seconds, answer)], seconds))


def test_rows_of_a_chat() -> None:
    a = [chat_round(2, 0.5, 10), chat_round(1, 0.25, 10), chat_round(4, 0.1, 10)]
    b = [chat_round(1, 0.1, 10), chat_round(1, 0.1, 10), chat_round(1, 0.1, 10)]
    found = {row.name: row for row in rows(a, b)}
    assert list(found) == [
        "tokens generated", "tokens of one stream", "first token, p50", "latency, p50",
    ]  # fmt: skip
    written = found["tokens generated"]
    assert (written.a.values, written.a.median, written.ratio) == ((5, 10, 2.5), 5, 2)
    first = found["first token, p50"]
    assert (first.a.median, first.b.median, first.ratio) == (250, 100, 2.5)


def test_a_figure_that_one_side_lacks_is_left_out() -> None:
    whole = summarise(Run([Sample(1, ResponseStats(tokens=5))], 1))
    names = [row.name for row in rows([chat_round(1, 0.5, 5)], [whole])]
    assert names == ["tokens generated", "latency, p50"]


def test_the_ratio_is_taken_within_each_round() -> None:
    # A machine that became half as fast in the second round: B stays twice as fast.
    row = ComparedFigure("x", "/s", True, Rounds((10, 5, 5)), Rounds((20, 10, 10)))
    assert row.ratio == 2
    assert ComparedFigure("x", "/s", True, Rounds((0,)), Rounds((1,))).ratio is None
    assert ComparedFigure("x", "ms", False, Rounds((10,)), Rounds((20,))).ratio == pytest.approx(
        0.5
    )
