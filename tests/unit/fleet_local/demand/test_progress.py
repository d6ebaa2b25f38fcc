"""What a start is at, as one line."""

from __future__ import annotations

from fleet_local.demand.progress import WeightsProgress, left_of_start, with_seconds
from fleet_prepare.stage import PrepareStage


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_weights() -> None:
    clock = Clock()
    progress = WeightsProgress(clock)
    assert progress.text == ""
    progress.report(PrepareStage.FETCHING, 0, None)
    assert progress.text == "fetching weights"
    progress.report(PrepareStage.FETCHING, 0, 1000)
    assert progress.text == "fetching weights 0 %"
    clock.now += 2
    progress.report(PrepareStage.FETCHING, 200, 1000)
    assert progress.text == "fetching weights 20 %, 8 s"
    clock.now += 2
    assert progress.text == "fetching weights 20 %, 16 s"
    assert progress.seconds_left == 16
    progress.report(PrepareStage.CONVERTING, 0, 10)
    assert progress.text == "converting weights 0 %"


def test_what_is_left_of_a_start() -> None:
    assert left_of_start(100, None, 101) is None
    assert with_seconds("loading", left_of_start(100, 5, 101.4)) == "loading, 4 s"
    assert with_seconds("loading", left_of_start(100, 5, 105)) == "loading"
