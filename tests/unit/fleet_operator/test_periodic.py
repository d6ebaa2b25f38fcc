"""A round that fails is logged and does not prevent the next."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fleet_operator.periodic import repeat


async def test_a_failed_round_is_logged_and_the_next_one_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds: list[int] = []
    enough = asyncio.Event()

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise ValueError("of the first round")
        enough.set()

    logger = logging.getLogger("fleet_operator.test")
    task = asyncio.create_task(repeat(work, 0, logger, "work_failed"))
    async with asyncio.timeout(30):
        await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(rounds) >= 2
    assert [record.getMessage() for record in caplog.records] == ["work_failed"]
