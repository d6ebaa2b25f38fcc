"""The memory of decoded images: of whom it is, and who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from fleet_contract.errors import Timeout
from fleet_server.budgets.image_memory import ImageMemory


class Holder:
    """A request that holds bytes until `end`."""

    def __init__(self, memory: ImageMemory, number: int) -> None:
        self.holds = False
        self._ended = asyncio.Event()
        self.task = asyncio.create_task(self._run(memory, number))

    async def _run(self, memory: ImageMemory, number: int) -> None:
        async with memory.held(number):
            self.holds = True
            await self._ended.wait()

    async def end(self) -> None:
        self._ended.set()
        await self.task


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_wait_in_order_for_memory() -> None:
    memory = ImageMemory(100, timeout=60)
    first, second, third, small = [Holder(memory, number) for number in (60, 40, 50, 10)]
    await settled()
    assert [each.holds for each in (first, second, third, small)] == [True, True, False, False]
    await second.end()
    await settled()
    assert not third.holds
    assert not small.holds  # not before the third
    await first.end()
    await settled()
    assert third.holds
    assert small.holds
    await third.end()
    await small.end()
    assert memory._used == 0


async def test_a_request_with_more_than_all_memory_runs_alone() -> None:
    memory = ImageMemory(100, timeout=60)
    small, large, later = [Holder(memory, number) for number in (1, 1000, 1)]
    await settled()
    assert [each.holds for each in (small, large, later)] == [True, False, False]
    await small.end()
    await settled()
    assert [each.holds for each in (large, later)] == [True, False]
    await large.end()
    await settled()
    await later.end()
    assert memory._used == 0


async def test_one_that_stops_waiting_lets_others_pass() -> None:
    memory = ImageMemory(100, timeout=60)
    first, gone, small = [Holder(memory, number) for number in (60, 100, 10)]
    await settled()
    assert not small.holds
    gone.task.cancel()
    await settled()
    assert small.holds
    await first.end()
    await small.end()
    assert memory._used == 0


async def test_waiting_is_bounded() -> None:
    memory = ImageMemory(100, timeout=0.01)
    first = Holder(memory, 100)
    await settled()
    with pytest.raises(Timeout, match="images of other requests"):
        async with memory.held(1):
            raise AssertionError
    await first.end()
    async with memory.held(100):
        assert memory._used == 100
