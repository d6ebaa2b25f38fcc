"""The progress of a start, as one line for the requests that wait for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from fleet_prepare.stage import PrepareStage

WINDOW_SECONDS = 10.0
WAITS_FOR_MEMORY = "waiting for memory of other models"
STOPPING = "stopping"
LOADING = "loading"
NOT_SCALED = "not scaled: "
"""Before the reason why an order was refused."""


class WeightsProgress:
    """The progress of fetching and converting; updated by a thread, read by the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._stage: PrepareStage | None = None
        self._total: int | None = None

    def report(self, stage: PrepareStage, done: int, total: int | None) -> None:
        """A `fleet_prepare.stage.Report`."""
        now = self._clock()
        if stage is not self._stage:
            self._stage = stage
            self._seen = deque()
        self._total = total
        seen = self._seen
        seen.append((now, done))
        while len(seen) > 2 and seen[0][0] < now - WINDOW_SECONDS:
            seen.popleft()

    @property
    def seconds_left(self) -> float | None:
        """What is left at the rate of the last seconds; None if that is unknown."""
        seen = list(self._seen)
        if not seen or not self._total:
            return None
        (began, first), (_, done) = seen[0], seen[-1]
        elapsed = self._clock() - began
        if elapsed <= 0 or done <= first:
            return None
        return max(0, self._total - done) * elapsed / (done - first)

    @property
    def text(self) -> str:
        """`fetching weights 42 %, 18 s`, as far as it is known; "" before the first report."""
        if self._stage is None:
            return ""
        what = f"{self._stage.value} weights"
        seen = list(self._seen)
        if not seen or not self._total:
            return what
        what = f"{what} {min(100, 100 * seen[-1][1] // self._total)} %"
        return with_seconds(what, self.seconds_left)


def left_of_start(started: float, last: float | None, now: float) -> float | None:
    """Seconds that are left if a start takes as long as the last one; None if there was none, or if
    it takes longer."""
    return None if last is None or now - started >= last else last - (now - started)


def with_seconds(text: str, seconds: float | None) -> str:
    """`text` with the time that is left, such as `loading, 3 s`."""
    return text if seconds is None else f"{text}, {seconds:.0f} s"
