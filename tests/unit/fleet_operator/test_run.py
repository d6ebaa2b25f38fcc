"""The operator's loops: one that ends is noticed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fleet_operator.metrics import Metrics
from fleet_operator.run import supervised


@pytest.mark.parametrize("error", [RecursionError("too deep"), None], ids=["raises", "returns"])
async def test_a_loop_that_ends_is_counted_and_the_others_continue(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, rounds = Metrics(), asyncio.Queue[None]()

    async def ends() -> None:
        if error is not None:
            raise error

    async def goes_on() -> None:
        while True:
            rounds.put_nowait(None)
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        tasks = [asyncio.create_task(one)
                 for one in supervised({"ends": ends, "goes_on": goes_on}, metrics)]  # fmt: skip
        async with asyncio.timeout(30):
            for _ in range(10):
                await rounds.get()
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    counted = [line for line in metrics.render().decode().splitlines()
               if line.startswith("modelfleet_operator_loop_restarts_total")]  # fmt: skip
    assert counted == ['modelfleet_operator_loop_restarts_total{loop="ends"} 1.0']
    assert "loop_ended" in [record.getMessage() for record in caplog.records]
