"""Seconds of stages and speed of a download, with a simulated clock."""

from __future__ import annotations

import pytest

from fleet_server.stages import WINDOW_SECONDS, Stages, Transfer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stages_follow_each_other() -> None:
    clock = Clock()
    stages = Stages(clock)
    stages.record("start", 0.5)
    stages.begin("fetch")
    clock.now += 2
    assert stages.seconds() == {"start": 0.5, "fetch": 2}
    stages.begin("load")
    clock.now += 3
    stages.end()
    clock.now += 100
    assert stages.seconds() == {"start": 0.5, "fetch": 2, "load": 3}
    assert list(stages.seconds()) == ["start", "fetch", "load"]


def test_speed_and_time_left() -> None:
    clock = Clock()
    transfer = Transfer(clock)
    assert transfer.body() == {
        "done_bytes": 0, "total_bytes": None, "bytes_per_second": None, "seconds_left": None,
    }  # fmt: skip
    transfer.update(1000, 5000)
    assert transfer.body()["bytes_per_second"] is None
    clock.now += 2
    transfer.update(3000, 5000)
    assert transfer.body() == {
        "done_bytes": 3000, "total_bytes": 5000, "bytes_per_second": 1000, "seconds_left": 2,
    }  # fmt: skip


def test_bytes_of_an_earlier_attempt_do_not_count_as_speed() -> None:
    clock = Clock()
    transfer = Transfer(clock)
    transfer.update(1_000_000, 1_001_000)
    clock.now += 1
    transfer.update(1_000_100, 1_001_000)
    assert transfer.bytes_per_second == pytest.approx(100)


def test_speed_is_of_the_last_seconds() -> None:
    clock = Clock()
    transfer = Transfer(clock)
    for done in range(0, 50_001, 1000):
        transfer.update(done, None)
        clock.now += 0.1
    clock.now += WINDOW_SECONDS
    for done in range(50_000, 50_101):
        transfer.update(done, None)
        clock.now += 1
    assert transfer.bytes_per_second == pytest.approx(1, rel=0.2)
    assert transfer.body()["seconds_left"] is None
