from __future__ import annotations

import asyncio

import pytest

from fleet_contract.errors import QueueFull, Timeout
from fleet_server.admission import Admission


async def hold(admission: Admission, release: asyncio.Event) -> float:
    async with admission.slot() as slot:
        await release.wait()
        return slot.queue_ms


async def test_runs_waits_and_turns_away() -> None:
    admission, release = Admission(2, 1, timeout=5), asyncio.Event()
    held = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert (admission.running, admission.waiting) == (2, 1)
    with pytest.raises(QueueFull) as caught:
        async with admission.slot():
            pass
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1
    release.set()
    queue_ms = await asyncio.gather(*held)
    assert queue_ms[0] < queue_ms[2]
    assert (admission.running, admission.waiting) == (0, 0)


async def test_no_queue_at_all_still_runs_what_fits() -> None:
    admission = Admission(1, 0, timeout=5)
    async with admission.slot():
        with pytest.raises(QueueFull):
            async with admission.slot():
                pass
    async with admission.slot():
        pass


async def test_a_waiter_that_leaves_frees_its_place() -> None:
    admission, release = Admission(1, 1, timeout=5), asyncio.Event()
    first = asyncio.create_task(hold(admission, release))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(hold(admission, release))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.waiting == 0
    release.set()
    await first
    assert admission.running == 0


async def test_the_wait_is_bounded() -> None:
    admission, release = Admission(1, 1, timeout=0.05), asyncio.Event()
    first = asyncio.create_task(hold(admission, release))
    await asyncio.sleep(0.01)
    with pytest.raises(Timeout):
        async with admission.slot():
            pass
    release.set()
    await first


async def test_an_error_inside_gives_the_place_back() -> None:
    admission = Admission(1, 0, timeout=1)
    with pytest.raises(RuntimeError):
        async with admission.slot():
            raise RuntimeError
    assert admission.running == 0


async def test_retry_after_follows_the_service_times() -> None:
    admission = Admission(1, 10, timeout=1)
    admission._mean_seconds = 7.0
    assert admission.retry_after() == 7.0
    admission._mean_seconds = 700.0
    assert admission.retry_after() == 60.0
