"""What a start is at, as one line."""

from __future__ import annotations

from fleet_local.demand.progress import WeightsProgress, loading
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
    progress.report(PrepareStage.CONVERTING, 0, 10)
    assert progress.text == "converting weights 0 %"


def test_loading() -> None:
    assert loading(100, None, 101) == "loading"
    assert loading(100, 5, 101.4) == "loading, 4 s"
    assert loading(100, 5, 105) == "loading"
