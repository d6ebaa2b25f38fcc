"""The work queue, on a simulated clock."""

from __future__ import annotations

import asyncio

import pytest

from fleet_operator.controller.work_queue import WorkQueue

A, B = ("ns", "a"), ("ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(clock: Clock) -> WorkQueue:
    made = WorkQueue(clock)
    made.open()
    return made


async def empty(queue: WorkQueue) -> bool:
    """Whether the queue has no key to take now."""
    taking = asyncio.ensure_future(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    if taking.done():
        return False
    taking.cancel()
    return True


async def test_each_once_in_order(queue: WorkQueue) -> None:
    queue.add([A, B, A])
    assert queue.depth == 2
    assert [await queue.take(), await queue.take()] == [A, B]
    assert await empty(queue)


async def test_a_key_added_during_reconciliation_is_queued_again(queue: WorkQueue) -> None:
    queue.add([A])
    await queue.take()
    queue.add([A])
    assert await empty(queue)
    queue.done(A, succeeded=True)
    assert await queue.take() == A
    queue.done(A, succeeded=True)
    assert await empty(queue)
    assert queue.depth == 0


async def test_nothing_is_taken_before_the_queue_is_opened(clock: Clock) -> None:
    queue = WorkQueue(clock)
    queue.add([A])
    assert await empty(queue)
    queue.open()
    assert await queue.take() == A


async def test_failures_are_retried_with_backoff(queue: WorkQueue, clock: Clock) -> None:
    queue.add([A])
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        await queue.take()
        queue.done(A, succeeded=False)
        clock.now += wait - 0.01
        assert await empty(queue)
        clock.now += 0.01
    await queue.take()
    queue.done(A, succeeded=True)
    queue.add([A])
    await queue.take()
    queue.done(A, succeeded=False)
    clock.now += 1
    assert await queue.take() == A


async def test_the_earliest_requeue_is_used(queue: WorkQueue, clock: Clock) -> None:
    queue.add_later(A, 10)
    queue.add_later(A, 5)
    queue.add_later(A, 20)
    clock.now += 5
    assert await queue.take() == A
    queue.done(A, succeeded=True)
    clock.now += 100
    assert await empty(queue)


async def test_a_waiting_take_returns_when_the_delay_ends() -> None:
    queue = WorkQueue(asyncio.get_running_loop().time)
    queue.open()
    queue.add_later(B, 0.01)
    assert await asyncio.wait_for(queue.take(), 5) == B


async def test_the_longest_wait_is_known(queue: WorkQueue, clock: Clock) -> None:
    assert queue.oldest == 0
    queue.add([A])
    clock.now += 7
    queue.add([B])
    assert queue.oldest == 7
    await queue.take()
    clock.now += 2
    assert queue.oldest == 2
    queue.done(A, succeeded=True)
    await queue.take()
    queue.done(B, succeeded=True)
    assert queue.oldest == 0


async def test_a_deleted_key_is_removed(queue: WorkQueue, clock: Clock) -> None:
    queue.add_later(A, 5)
    queue.forget(A)
    clock.now += 10
    assert await empty(queue)


async def test_a_delay_that_ends_while_the_key_is_worked_on_is_not_lost(
    queue: WorkQueue, clock: Clock
) -> None:
    queue.add([A])
    await queue.take()
    queue.add_later(A, 5)
    clock.now += 5
    assert await empty(queue)  # another worker looks for a key meanwhile
    queue.done(A, succeeded=True)
    assert await asyncio.wait_for(queue.take(), 5) == A
    queue.done(A, succeeded=True)
    assert await empty(queue)


async def test_a_failure_with_a_wait_is_not_retried_earlier(queue: WorkQueue, clock: Clock) -> None:
    queue.add([A])
    await queue.take()
    queue.add([A])  # changed meanwhile
    queue.done(A, succeeded=False, after=20.0)
    clock.now += 19
    assert await empty(queue)
    clock.now += 1
    assert await queue.take() == A
    queue.done(A, succeeded=False, after=1000.0)  # bounded
    clock.now += 60
    assert await queue.take() == A


async def test_a_backlog_that_shrinks_is_no_stall(clock: Clock) -> None:
    queue = WorkQueue(clock)
    queue.add([("ns", str(number)) for number in range(10)])
    clock.now += 1000
    assert queue.stalled == 0.0  # still syncing
    queue.open()
    for _ in range(9):
        key = await queue.take()
        clock.now += 100
        assert queue.stalled == 100.0
        queue.done(key, succeeded=True)
        assert queue.stalled == 0.0
    assert queue.oldest > 1000
    clock.now += 300
    assert queue.stalled == 300.0  # nothing takes the last key
    key = await queue.take()
    assert queue.stalled == 0.0
    clock.now += 200
    queue.add([("ns", "x")])
    assert queue.stalled == 200.0  # one reconcile does not end
    queue.done(key, succeeded=True)
    await queue.take()
    queue.done(("ns", "x"), succeeded=True)
    assert queue.stalled == 0.0


class CountedQueue(WorkQueue):
    """Counts how often a waiting worker looks for a key."""

    looked = 0

    def _promote(self) -> None:
        self.looked += 1
        super()._promote()


async def test_a_change_wakes_one_worker(clock: Clock) -> None:
    queue = CountedQueue(clock)
    queue.open()
    workers = [asyncio.create_task(queue.take()) for _ in range(48)]
    for number in range(10):
        queue.add_later(("ns", str(number)), 60.0 + number)
        await asyncio.sleep(0.001)
    assert queue.looked <= 3
    queue.add([A, B])
    await asyncio.sleep(0.001)
    assert queue.looked <= 6
    assert {worker.result() for worker in workers if worker.done()} == {A, B}
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_changes_are_gathered_for_longer_while_many_models_change(
    queue: WorkQueue, clock: Clock
) -> None:
    queue.add_soon([A])
    clock.now += 0.1
    assert await queue.take() == A
    queue.done(A, succeeded=True)
    for number in range(1000):
        queue.add_soon([("ns", str(number))])
    clock.now += 0.1
    taken = [await queue.take() for _ in range(4)]
    assert await empty(queue)
    clock.now += 0.9
    queue.add_soon(taken)  # bounded, also for those that change again and again
    taken += [await queue.take() for _ in range(996)]
    assert len(set(taken)) == 1000


async def test_a_reconcile_covers_the_changes_gathered_before_it(
    queue: WorkQueue, clock: Clock
) -> None:
    queue.add_soon([A, B])
    queue.add_later(B, 0.05)  # a deadline is kept, whatever is gathered
    queue.add([A, B])
    for key in (A, B):
        assert await queue.take() == key
    queue.add_soon([A])  # a change that the reconcile may have missed
    for key in (A, B):
        queue.done(key, succeeded=True)
    clock.now += 0.1
    assert {await queue.take(), await queue.take()} == {A, B}
    for key in (A, B):
        queue.done(key, succeeded=True)
    clock.now += 100
    assert await empty(queue)
