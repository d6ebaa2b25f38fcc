"""Loops that must not end: restarted with backoff, counted, and cancelled like any other task."""

from __future__ import annotations

import asyncio

import pytest

from fleet_web.supervise import MOST_SECONDS, STEADY_SECONDS, keep_running


class Loop:
    """A loop that ends `ends` times, each time after `uptime` seconds of its own clock."""

    def __init__(self, ends: int, uptime: float = 0.0, error: Exception | None = None) -> None:
        self.ends, self.uptime, self.error = ends, uptime, error
        self.now = 0.0
        self.counted: list[str] = []
        self.waits: list[float] = []
        self.steady = asyncio.Event()

    async def work(self) -> None:
        if len(self.waits) == self.ends:
            self.steady.set()
            await asyncio.Event().wait()
        self.now += self.uptime
        if self.error is not None:
            raise self.error

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    async def run(self) -> None:
        task = asyncio.create_task(
            keep_running("table", self.work, ended=self.counted.append, sleep=self.sleep,
                         clock=lambda: self.now)
        )  # fmt: skip
        await asyncio.wait_for(self.steady.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


ENDS = (None, OSError("x"), RecursionError("x"), ExceptionGroup("x", [OSError()]))


@pytest.mark.parametrize("error", ENDS)
async def test_a_loop_that_ends_is_restarted_and_counted(error: Exception | None) -> None:
    loop = Loop(3, error=error)
    await loop.run()
    assert loop.counted == ["table"] * 3
    assert loop.waits == [0.5, 1, 2]


async def test_the_wait_is_bounded() -> None:
    loop = Loop(30)
    await loop.run()
    assert loop.waits[-1] == MOST_SECONDS


async def test_a_long_run_resets_the_backoff() -> None:
    loop = Loop(3, uptime=STEADY_SECONDS)
    await loop.run()
    assert loop.waits == [0.5] * 3


async def test_the_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(1, error=RecursionError("too deep"))
    await loop.run()
    fields = [vars(record).get("fields", {}) for record in caplog.records]
    assert {"loop": "table", "error": "RecursionError: too deep", "restart_in": 0.5} in fields
