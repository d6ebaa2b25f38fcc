from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.errors import QueueFull, Timeout
from fleet_contract.spec import ModelSpec
from fleet_server.admission import Admission, passes_at_once, places
from support.waiting import until_async


async def hold(admission: Admission, release: asyncio.Event) -> float:
    async with admission.slot() as slot:
        await release.wait()
        return slot.queue_ms


def spec_with(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": "embedding", **fields})


ENCODER = SimpleNamespace()
LANES = SimpleNamespace(most_lanes=4)
TWO = SimpleNamespace(passes=2)
BATCH = SimpleNamespace(max_concurrent=32)

PLACES: list[tuple[dict[str, Any], SimpleNamespace, int]] = [
    ({}, ENCODER, 64),
    ({"limits": {"maxConcurrent": 1}}, ENCODER, 64),
    ({"limits": {"maxConcurrent": 1}}, LANES, 64),
    ({"limits": {"maxConcurrent": 1}, "batching": {"maxSize": 16}}, LANES, 32),
    ({"batching": {"maxSize": 500}}, ENCODER, 64),
    ({"batching": {"passSize": 8}}, ENCODER, 16),
    ({"limits": {"maxBatchSize": 8}}, ENCODER, 16),
    ({"limits": {"maxBatchSize": 8}, "batching": {"passSize": 4}}, ENCODER, 8),
    ({"batching": {"enabled": False}}, ENCODER, 2),
    ({"batching": {"enabled": False}}, LANES, 5),
    ({}, TWO, 96),
    ({"limits": {"maxConcurrent": 1}}, TWO, 64),
    ({"task": "chat"}, BATCH, 32),
    ({"task": "chat", "limits": {"maxConcurrent": 1}}, BATCH, 32),
]


@pytest.mark.parametrize(("fields", "model", "number"), PLACES)
def test_as_many_run_as_keep_the_passes_full(
    fields: dict[str, Any], model: SimpleNamespace, number: int
) -> None:
    assert places(spec_with(**fields), model) == number


def test_the_bound_on_passes_is_never_raised() -> None:
    assert passes_at_once(spec_with(), TWO) == 2
    assert passes_at_once(spec_with(limits={"maxConcurrent": 1}), TWO) == 1
    assert passes_at_once(spec_with(limits={"maxConcurrent": 9}), TWO) == 2
    assert passes_at_once(spec_with(limits={"maxConcurrent": 9}), ENCODER) == 1


async def test_runs_waits_and_turns_away() -> None:
    admission, release = Admission(2, 1, timeout=5), asyncio.Event()
    held = [asyncio.create_task(hold(admission, release)) for _ in range(3)]
    await until_async(lambda: (admission.running, admission.waiting) == (2, 1))
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
    await until_async(lambda: admission.running == 1)
    second = asyncio.create_task(hold(admission, release))
    await until_async(lambda: admission.waiting == 1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.waiting == 0
    release.set()
    await first
    assert admission.running == 0


async def test_the_wait_is_bounded() -> None:
    admission, release = Admission(1, 1, timeout=0.05), asyncio.Event()
    first = asyncio.create_task(hold(admission, release))
    await until_async(lambda: admission.running == 1)
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
