"""Callers take turns for the threads of blocking work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fleet_contract.errors import Timeout
from fleet_server.admission import Admission
from fleet_server.caller import set_caller
from fleet_server.worker_pool import WorkerPool


@pytest.fixture
def free() -> Iterator[threading.Event]:
    """Set to end the blocking calls."""
    event = threading.Event()
    yield event
    event.set()


async def call(pool: WorkerPool, caller: str, free: threading.Event | None = None) -> bool:
    set_caller({"headers": [], "client": (caller, 1)})
    return await pool.run(free.wait, 30) if free else await pool.run(lambda: True)


async def test_a_caller_with_many_calls_leaves_a_thread_for_others(free: threading.Event) -> None:
    pool = WorkerPool(Admission(3, 99, 30, caller_slots=2))
    many = [asyncio.ensure_future(call(pool, "many", free)) for _ in range(20)]
    for caller in ("one", "two"):
        assert await asyncio.wait_for(asyncio.ensure_future(call(pool, caller)), 10)
    assert not any(task.done() for task in many)
    free.set()
    assert all(await asyncio.gather(*many))
    pool.close()


async def test_a_cancelled_call_keeps_its_thread_until_it_ends(free: threading.Event) -> None:
    pool = WorkerPool(Admission(2, 99, 0.05, caller_slots=1))
    left = asyncio.ensure_future(call(pool, "one", free))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(Timeout):
        await asyncio.ensure_future(call(pool, "one"))
    free.set()
    await asyncio.gather(left, return_exceptions=True)
    assert left.cancelled()
    assert await asyncio.ensure_future(call(pool, "one"))
    pool.close()
