"""The batcher before a model with lanes: assignment of cores, and distribution of inputs."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from fleet_server.batching.batcher import Batcher, Lanes
from fleet_server.batching.planner import BatchLimits
from support.waiting import until_async

Batch = list[Sequence[int]]
Make = Callable[..., Batcher]


class Model:
    """Gives each input its sum. Passes wait while `gate` is closed; `alone` and `in_lanes` are the
    sizes of those that began."""

    def __init__(self) -> None:
        self.lanes = 2
        self.alone: list[int] = []
        self.in_lanes: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self._one = threading.Semaphore(0)
        self._lock = threading.Lock()

    def run_alone(self, batch: Batch) -> np.ndarray:
        self.alone.append(len(batch))
        assert self.at_once == 0
        return self._run(batch)

    def run_concurrent(self, batch: Batch) -> np.ndarray:
        self.in_lanes.append(len(batch))
        return self._run(batch)

    def let_one_end(self) -> None:
        """Let a pass that waits end while the gate stays closed."""
        self._one.release()

    def _run(self, batch: Batch) -> np.ndarray:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while not self.gate.wait(0.001):
                if self._one.acquire(blocking=False):
                    break
            if any(-1 in ids for ids in batch):
                raise ValueError("a poisoned input")
            return np.array([[sum(ids)] for ids in batch], dtype=np.float32)
        finally:
            with self._lock:
                self.at_once -= 1


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def make(model: Model) -> Iterator[Make]:
    made: list[Batcher] = []

    def build(max_items: int = 8, most: int = 2) -> Batcher:
        lanes = Lanes(model.run_concurrent, lambda: model.lanes, most)
        bounds = BatchLimits(max_items, 10_000)
        made.append(Batcher(model.run_alone, bounds, max_waiting=100, lanes=lanes))
        return made[-1]

    yield build
    model.gate.set()
    for batcher in made:
        batcher.close()


async def test_an_input_alone_gets_all_cores(make: Make, model: Model) -> None:
    batcher = make()
    for number in range(5):
        assert (await batcher.run([[number]])).tolist() == [[number]]
    assert (model.alone, model.in_lanes) == ([1] * 5, [])


async def test_waiting_inputs_are_distributed_over_the_lanes(make: Make, model: Model) -> None:
    batcher = make()
    model.gate.clear()
    tasks = [asyncio.create_task(batcher.run([[0]]))]
    await until_async(lambda: model.alone == [1])
    tasks += [asyncio.create_task(batcher.run([[number]])) for number in range(1, 7)]
    await asyncio.sleep(0)
    assert model.in_lanes == []
    model.let_one_end()
    await until_async(lambda: model.at_once == 2)
    assert model.in_lanes == [3, 3]
    model.gate.set()
    found = await asyncio.gather(*tasks)
    assert [rows.tolist() for rows in found] == [[[number]] for number in range(7)]
    assert model.alone == [1]


async def test_one_big_request_uses_all_lanes(make: Make, model: Model) -> None:
    batcher = make()
    model.gate.clear()
    task = asyncio.create_task(batcher.run([[number] for number in range(16)]))
    await until_async(lambda: model.at_once == 2)
    assert model.in_lanes == [8, 8]
    model.gate.set()
    assert (await task).ravel().tolist() == list(range(16))


async def test_lanes_are_not_used_before_they_are_ready(make: Make, model: Model) -> None:
    model.lanes = 1
    batcher = make(max_items=100)
    await batcher.run([[number] for number in range(6)])
    assert (model.alone, model.in_lanes) == ([], [6])
    model.lanes = 2
    model.gate.clear()
    task = asyncio.create_task(batcher.run([[number] for number in range(6)]))
    await until_async(lambda: model.at_once == 2)
    assert (model.alone, model.in_lanes) == ([], [6, 3, 3])
    model.gate.set()
    await task


async def test_an_error_ends_those_of_its_pass_only(make: Make, model: Model) -> None:
    batcher = make(max_items=1)
    bad = asyncio.create_task(batcher.run([[-1], [-1]]))
    good = [asyncio.create_task(batcher.run([[number]])) for number in range(10)]
    with pytest.raises(ValueError, match="poisoned"):
        await bad
    found = await asyncio.gather(*good)
    assert [rows.tolist() for rows in found] == [[[number]] for number in range(10)]


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_results_come_in_the_order_of_the_inputs(make: Make, model: Model, most: int) -> None:
    model.lanes = most
    batcher = make(max_items=3, most=most)
    rng = random.Random(2)
    batches = [
        [[rng.randint(0, 9)] * rng.randint(1, 30) for _ in range(rng.randint(1, 20))]
        for _ in range(60)
    ]
    found = await asyncio.gather(*(batcher.run(batch) for batch in batches))
    for batch, rows in zip(batches, found, strict=True):
        assert rows.tolist() == [[sum(ids)] for ids in batch]
    assert model.most_at_once <= most
    assert model.at_once == 0
