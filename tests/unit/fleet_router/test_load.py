"""The load that a router reports."""

from __future__ import annotations

import pytest

from fleet_contract.api.load_report import REPORTED_SECONDS, ReportedLoad
from fleet_router.load import LoadTracker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_requests_in_flight_and_time_since_the_last(clock: Clock) -> None:
    tracker = LoadTracker(clock)
    assert tracker.loads() == {}
    tracker.started("a")
    tracker.started("a")
    tracker.started("b")
    clock.now += 5
    assert tracker.loads() == {"a": ReportedLoad(2, 0.0), "b": ReportedLoad(1, 0.0)}
    tracker.ended("b")
    clock.now += 7
    assert tracker.loads() == {"a": ReportedLoad(2, 0.0), "b": ReportedLoad(0, 7.0)}


def test_models_without_requests_are_dropped_and_running_ones_are_not(clock: Clock) -> None:
    tracker = LoadTracker(clock)
    tracker.started("long")
    for name in ("a", "b"):
        tracker.started(name)
        tracker.ended(name)
    clock.now += REPORTED_SECONDS
    tracker.started("c")
    clock.now += 1
    assert set(tracker.loads()) == {"long", "c"}
    tracker.ended("long")
    assert tracker.loads()["long"] == ReportedLoad(0, 0.0)
