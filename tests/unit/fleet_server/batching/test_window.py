"""How long a batch waits for more requests."""

from __future__ import annotations

import pytest

from fleet_server.batching.window import MAX_FRUITLESS, MAX_SKIPPED, BatchWindow


def test_a_window_of_length_zero_never_opens() -> None:
    assert not BatchWindow(0).opens()


@pytest.mark.parametrize(
    ("first", "last", "now", "left"),
    [
        (10.0, 10.0, 10.0, 1.0),  # a quarter of 4 seconds without anybody else
        (10.0, 10.9, 11.0, 0.9),
        (10.0, 13.8, 13.8, 0.2),  # arrivals never pause: the whole window is the bound
        (10.0, 10.0, 11.5, -0.5),  # it waited for a pass that was running
    ],
)
def test_time_left_in_the_window(first: float, last: float, now: float, left: float) -> None:
    assert BatchWindow(4).left(first, last, now) == pytest.approx(left)


def test_fruitless_windows_are_mostly_skipped() -> None:
    window = BatchWindow(1)
    for _ in range(MAX_FRUITLESS):
        assert window.opens()
        window.closed(0)
    for _ in range(3):
        assert [window.opens() for _ in range(MAX_SKIPPED)] == [False] * (MAX_SKIPPED - 1) + [True]
        window.closed(0)
    assert not any(window.opens() for _ in range(MAX_SKIPPED - 1))
    assert window.opens()
    window.closed(2)
    assert all(window.opens() for _ in range(MAX_SKIPPED))


def test_occasional_arrivals_keep_it_open() -> None:
    window = BatchWindow(1)
    for number in range(40):
        assert window.opens()
        window.closed(int(number % MAX_FRUITLESS == 0))
