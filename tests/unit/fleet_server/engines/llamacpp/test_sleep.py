from __future__ import annotations

import pytest

from fleet_server.engines.llamacpp.sleep import LATE_SECONDS, LEAST_SECONDS, Sleep, seconds_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Tasks:
    """Counts tasks, each of which takes the next of `seconds`, or none."""

    def __init__(self, clock: Clock, *seconds: float) -> None:
        self.number = 0
        self._clock = clock
        self._seconds = list(seconds)

    def __call__(self) -> None:
        self.number += 1
        self._clock.now += self._seconds.pop(0) if self._seconds else 0


@pytest.mark.parametrize(("after", "seconds"), [(0, -1), (1, 20), (20, 20), (300, 300)])
def test_it_begins_after_some_seconds_at_least(after: int, seconds: int) -> None:
    assert seconds_of(after) == seconds


def test_a_request_follows_a_task_closely() -> None:
    clock = Clock()
    tasks = Tasks(clock)
    sleep = Sleep(20, tasks, clock)
    for passed, made in ((0, 0), (9, 0), (1, 1), (9, 1), (2, 2), (500, 3)):
        clock.now += passed
        sleep.prevent()
        assert tasks.number == made


def test_a_request_waits_for_one_task_however_long_that_takes() -> None:
    """Such as one that waits for a pass of a large model."""
    clock = Clock()
    tasks = Tasks(clock, 60, 60)
    sleep = Sleep(20, tasks, clock)
    clock.now += 500
    sleep.prevent()
    sleep.prevent()
    assert tasks.number == 1


def test_a_task_that_fails_is_made_again() -> None:
    clock = Clock()
    failed = [ConnectionResetError(), None]

    def task() -> None:
        if (error := failed.pop(0)) is not None:
            raise error

    sleep = Sleep(20, task, clock)
    clock.now += 500
    with pytest.raises(ConnectionResetError):
        sleep.prevent()
    sleep.prevent()
    assert failed == []


def test_the_file_is_not_unmapped_soon_after_a_task() -> None:
    clock = Clock()
    sleep = Sleep(20, Tasks(clock), clock)
    assert not sleep.is_near
    clock.now += 14.9
    assert not sleep.is_near
    clock.now += 0.2
    assert sleep.is_near
    sleep.prevent()
    assert not sleep.is_near


def test_without_sleep_no_task_is_made() -> None:
    clock = Clock()
    tasks = Tasks(clock)
    sleep = Sleep(seconds_of(0), tasks, clock)
    clock.now += 10_000
    sleep.prevent()
    sleep.wait(lambda: False)
    assert (tasks.number, sleep.is_near) == (0, False)


@pytest.mark.parametrize(
    ("event", "seconds", "idle"),
    [("asleep", 20, 19), ("used", 20, 19), ("late", 20, 19), ("late", 300, 2)],
)
def test_waiting_ends(
    event: str, seconds: float, idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    sleep = Sleep(seconds, Tasks(clock), clock)
    clock.now += idle
    began = clock.now
    polls = []

    def has_begun() -> bool:
        polls.append(clock.now)
        if event == "used" and len(polls) == 3:
            sleep.prevent()
        return event == "asleep" and len(polls) == 3

    def pause(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("time.sleep", pause)
    sleep.wait(has_begun)
    if event == "late":
        assert LATE_SECONDS < polls[-1] - began < LEAST_SECONDS + LATE_SECONDS + 1
    else:
        assert len(polls) == 3
