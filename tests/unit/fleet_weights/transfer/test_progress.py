"""Bytes of concurrent downloads."""

from __future__ import annotations

import threading

import pytest

from fleet_weights.errors import Stopped
from fleet_weights.transfer.progress import ProgressTracker


def test_the_sum_is_unknown_until_every_size_is_known() -> None:
    tracker = ProgressTracker(None)
    tracker.expect("a")
    tracker.expect("b", 10)
    assert tracker.total is None
    tracker.update("a", 3, 30)
    assert (tracker.done, tracker.total) == (3, 40)


def test_a_finished_download_is_always_reported() -> None:
    reports: list[tuple[int, int | None]] = []
    tracker = ProgressTracker(lambda done, total: reports.append((done, total)))
    for done in range(0, 101):
        tracker.update("a", done, 100)
    assert reports[-1] == (100, 100)
    assert len(reports) < 101


def test_stop_and_failure_end_the_others() -> None:
    stop = threading.Event()
    tracker = ProgressTracker(None, stop)
    tracker.update("a", 1, 2)
    stop.set()
    with pytest.raises(Stopped):
        tracker.update("a", 2, 2)
    failed = ProgressTracker(None)
    failed.fail()
    with pytest.raises(Stopped):
        failed.check()
