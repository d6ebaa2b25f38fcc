"""The batcher: sharing, splitting, fairness, failures, cancellation, bounds.

The passes are run by functions of the tests, which show what the batcher put together.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from fleet_contract.errors import NotReady, QueueFull
from fleet_server.batching import batcher as batching
from fleet_server.batching.batcher import Batcher
from fleet_server.batching.planner import BatchLimits
from fleet_server.batching.window import BatchWindow
from support.waiting import until_async

Batch = list[Sequence[int]]


class Passes:
    """Gives each input its sum and length; waits in a pass while `gate` is closed."""

    def __init__(self) -> None:
        self.seen: list[Batch] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    def __call__(self, batch: Batch) -> np.ndarray:
        self.seen.append([list(ids) for ids in batch])
        self.started.set()
        assert self.gate.wait(10)
        if any(-1 in ids for ids in batch):
            raise ValueError("a poisoned input")
        return np.array([[sum(ids), len(ids)] for ids in batch], dtype=np.float32)

    async def hold(self, batcher: Batcher) -> asyncio.Task[np.ndarray]:
        """Start a pass that stays in the model until the gate opens."""
        self.gate.clear()
        task = asyncio.create_task(batcher.run([[0]]))
        await asyncio.to_thread(self.started.wait, 10)
        self.seen.clear()
        return task


@pytest.fixture
def passes() -> Passes:
    return Passes()


@pytest.fixture
def make(passes: Passes) -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def build(
        max_items: int = 8, max_requests: int | None = None, waiting: int = 100,
        window: float = 0, concurrent: int = 1,
    ) -> Batcher:  # fmt: skip
        bounds = BatchLimits(max_items, 10_000, max_requests)
        made.append(
            Batcher(passes, bounds, max_waiting=waiting, window=window, concurrent=concurrent)
        )
        return made[-1]

    yield build
    passes.gate.set()
    for batcher in made:
        batcher.close()


Make = Callable[..., Batcher]


async def test_requests_that_arrive_during_a_pass_share_the_next(
    make: Make, passes: Passes
) -> None:
    batcher = make()
    held = await passes.hold(batcher)
    tasks = [asyncio.create_task(batcher.run([[number]])) for number in range(6)]
    await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, *tasks)
    assert [len(batch) for batch in passes.seen] == [6]


async def test_without_batching_each_request_has_its_own_passes(make: Make, passes: Passes) -> None:
    batcher = make(max_requests=1)
    held = await passes.hold(batcher)
    tasks = [asyncio.create_task(batcher.run([[number], [number]])) for number in range(3)]
    await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, *tasks)
    assert passes.seen == [[[0], [0]], [[1], [1]], [[2], [2]]]


async def test_a_single_input_is_not_stuck_behind_a_big_request(make: Make, passes: Passes) -> None:
    batcher = make(max_items=8)
    held = await passes.hold(batcher)
    fifty = [[1] * 50 for _ in range(400)]
    big = asyncio.create_task(batcher.run(fifty))
    await asyncio.sleep(0)
    near = asyncio.create_task(batcher.run([[2] * 49]))
    far = asyncio.create_task(batcher.run([[2] * 3]))
    await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, big, near, far)
    passes_with = [
        number for number, batch in enumerate(passes.seen) for ids in batch if ids[0] == 2
    ]
    assert len(passes_with) == 2
    assert max(passes_with) <= 2
    assert len(passes.seen) <= 52


async def test_a_failed_pass_fails_its_own_requests_only(make: Make, passes: Passes) -> None:
    batcher = make(max_items=2)
    held = await passes.hold(batcher)
    batches = [[[-1]], [[5]], [[6]], [[7]]]
    tasks = [asyncio.create_task(batcher.run(batch)) for batch in batches]
    await asyncio.sleep(0)
    passes.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await held
    shared = next(batch for batch in passes.seen if [-1] in batch)
    for batch, result in zip(batches, results, strict=True):
        assert isinstance(result, ValueError) == (batch[0] in shared)
    assert (await batcher.run([[4]])).tolist() == [[4, 1]]


async def test_a_failed_request_does_not_run_its_other_inputs(make: Make, passes: Passes) -> None:
    batcher = make(max_items=2)
    with pytest.raises(ValueError, match="poisoned"):
        await batcher.run([[-1] * 9, *[[1]] * 20])
    await batcher.run([[3]])
    assert len(passes.seen) == 2


async def test_cancelled_requests_are_skipped(make: Make, passes: Passes) -> None:
    batcher = make()
    held = await passes.hold(batcher)
    gone = [asyncio.create_task(batcher.run([[8], [8]])) for _ in range(5)]
    stays = asyncio.create_task(batcher.run([[9]]))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    passes.gate.set()
    await asyncio.gather(held, stays)
    assert passes.seen == [[[9]]]


async def test_cancellation_during_a_pass_drops_the_rest(make: Make, passes: Passes) -> None:
    batcher = make(max_items=2)
    passes.gate.clear()
    task = asyncio.create_task(batcher.run([[1]] * 50))
    await asyncio.to_thread(passes.started.wait, 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    passes.gate.set()
    await batcher.run([[3]])
    assert len(passes.seen) == 2


async def test_the_queue_is_bounded(make: Make, passes: Passes) -> None:
    batcher = make(waiting=2)
    held = await passes.hold(batcher)
    tasks = [asyncio.create_task(batcher.run([[number]])) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull) as caught:
        await batcher.run([[1]])
    assert caught.value.retry_after == 1
    passes.gate.set()
    await asyncio.gather(held, *tasks)


async def test_an_idle_batcher_does_not_wait_and_a_window_does(make: Make, passes: Passes) -> None:
    idle, patient = make(), make(window=3600)
    async with asyncio.timeout(60):
        await idle.run([[1]])
        passes.seen.clear()
        first = asyncio.create_task(patient.run([[1]]))
        await asyncio.sleep(0.05)  # time in which a batcher that does not wait would run it
        assert passes.seen == []
        await asyncio.gather(first, patient.run([[2]] * 7))
        assert [len(batch) for batch in passes.seen] == [8]
        await patient.run([[1]] * 8)


async def test_a_window_ends_once_nothing_more_comes(make: Make, passes: Passes) -> None:
    patient = make(window=2)
    async with asyncio.timeout(60):
        await asyncio.gather(patient.run([[1]]), patient.run([[2]]))
    assert [len(batch) for batch in passes.seen] == [2]


async def test_a_window_ends_when_a_pass_takes_in_no_more_requests(
    make: Make, passes: Passes
) -> None:
    batcher = make(max_requests=2, window=3600)
    async with asyncio.timeout(10):
        await asyncio.gather(batcher.run([[1]]), batcher.run([[2]]))
    assert len(passes.seen) == 1


class Observed(BatchWindow):
    """Keeps the number of arrivals in each wait; once `over`, no time is left in any."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.over = False
        self.waits = 0
        self.arrivals: list[int] = []

    def left(self, first: float, last: float, now: float) -> float:
        assert first <= last <= now
        self.waits += 1
        return 0.0 if self.over else super().left(first, last, now)

    def closed(self, arrivals: int) -> None:
        self.arrivals.append(arrivals)


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Observed:
    """The window of the next batcher: an hour."""
    window = Observed(3600)
    monkeypatch.setattr(batching, "BatchWindow", lambda seconds: window)
    return window


async def test_the_arrivals_of_a_wait_are_counted(make: Make, window: Observed) -> None:
    patient = make()
    async with asyncio.timeout(60):
        first = asyncio.create_task(patient.run([[1]]))
        await until_async(lambda: window.waits)
        await asyncio.gather(first, patient.run([[1]]), patient.run([[1]] * 6))
    assert window.arrivals == [2]


async def test_a_wait_ends_when_no_time_is_left(make: Make, window: Observed) -> None:
    window.over = True
    async with asyncio.timeout(60):
        await make().run([[1]])
    assert window.arrivals == [0]


@pytest.mark.parametrize("concurrent", [1, 3])
async def test_as_many_passes_run_as_are_allowed(
    make: Make, passes: Passes, concurrent: int
) -> None:
    batcher = make(max_items=2, concurrent=concurrent)
    passes.gate.clear()
    task = asyncio.create_task(batcher.run([[1]] * 20))
    await until_async(lambda: len(passes.seen) >= concurrent)
    await asyncio.sleep(0.02)  # time in which one pass too many would start
    assert [len(batch) for batch in passes.seen] == [2] * concurrent
    passes.gate.set()
    assert (await task).tolist() == [[1, 1]] * 20


async def test_concurrent_passes_are_full_and_share_the_device(make: Make, passes: Passes) -> None:
    batcher = make(max_items=8, concurrent=2)
    passes.gate.clear()
    first = asyncio.create_task(batcher.run([[1]] * 6))
    await until_async(lambda: passes.seen)
    second = asyncio.create_task(batcher.run([[2]]))
    await until_async(lambda: len(passes.seen) == 2)
    assert passes.seen == [[[1]] * 6, [[2]]]
    passes.gate.set()
    await asyncio.gather(first, second)


async def test_closing_fails_waiting_requests(make: Make, passes: Passes) -> None:
    batcher = make()
    held = await passes.hold(batcher)
    waiting = asyncio.create_task(batcher.run([[1]]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(NotReady) as caught:
        await waiting
    assert caught.value.retry_after == 1
    passes.gate.set()
    await asyncio.gather(held, closing)
    with pytest.raises(NotReady) as caught:
        await batcher.run([[1]])
    assert caught.value.retry_after == 1


def test_a_request_whose_event_loop_is_closed_ends_no_thread(make: Make, passes: Passes) -> None:
    batcher = make()
    passes.gate.clear()

    async def leave() -> None:
        requests.append(asyncio.create_task(batcher.run([[1]])))
        await asyncio.to_thread(passes.started.wait, 10)

    requests: list[asyncio.Task[np.ndarray]] = []
    asyncio.run(leave())
    passes.gate.set()
    assert asyncio.run(batcher.run([[2]])).tolist() == [[2, 1]]


async def test_random_traffic_with_random_cancellations(make: Make, passes: Passes) -> None:
    batcher = make(max_items=4, waiting=1000)
    rng = random.Random(4)

    async def client() -> None:
        for _ in range(10):
            batch = [[rng.randint(0, 9)] * rng.randint(1, 9) for _ in range(rng.randint(1, 9))]
            task = asyncio.create_task(batcher.run(batch))
            await asyncio.sleep(rng.random() * 0.002)
            if rng.random() < 0.3:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            else:
                assert (await task).tolist() == [[sum(ids), len(ids)] for ids in batch]

    await asyncio.gather(*(client() for _ in range(30)))
    assert not batcher._waiting


async def test_callers_take_turns(make: Make, passes: Passes) -> None:
    batcher = make(max_items=8)
    held = await passes.hold(batcher)
    crowd = [asyncio.create_task(batcher.run([[1]], "crowd")) for _ in range(60)]
    await asyncio.sleep(0)
    big = asyncio.create_task(batcher.run([[2]] * 20, "big"))
    one = asyncio.create_task(batcher.run([[3]], "one"))
    await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, big, one, *crowd)
    first, second, *_ = passes.seen
    assert len(first) == len(second) == 8
    assert [3] in first
    for batch in (first, second):  # `crowd` has two or four requests in its share of the pass
        assert batch.count([1]) in (2, 4)
    assert batcher_is_empty(batcher)


def batcher_is_empty(batcher: Batcher) -> bool:
    return len(batcher._waiting) == 0


async def test_an_unneeded_share_is_used_by_others(make: Make, passes: Passes) -> None:
    batcher = make(max_items=8)
    held = await passes.hold(batcher)
    crowd = [asyncio.create_task(batcher.run([[1]], "crowd")) for _ in range(15)]
    await asyncio.sleep(0)
    one = asyncio.create_task(batcher.run([[3]], "one"))
    await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, one, *crowd)
    assert [len(batch) for batch in passes.seen] == [8, 8]
    assert [3] in passes.seen[0]


async def test_a_caller_moves_to_the_end_after_its_turn(make: Make, passes: Passes) -> None:
    batcher = make(max_items=1)
    held = await passes.hold(batcher)
    tasks = []
    for caller in ("a", "b"):
        tasks += [asyncio.create_task(batcher.run([[ord(caller)]], caller)) for _ in range(3)]
        await asyncio.sleep(0)
    passes.gate.set()
    await asyncio.gather(held, *tasks)
    assert [chr(batch[0][0]) for batch in passes.seen] == ["a", "b"] * 3
