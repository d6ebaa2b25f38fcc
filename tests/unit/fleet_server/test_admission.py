from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet_contract.errors import QueueFull, Timeout
from fleet_server import admission as admission_module
from fleet_server.admission import OTHERS_SECONDS, Admission
from support.waiting import until_async


async def hold(admission: Admission, release: asyncio.Event) -> float:
    async with admission.slot() as slot:
        await release.wait()
        return slot.queue_ms


async def test_requests_run_wait_or_are_refused() -> None:
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


async def test_an_empty_queue_still_admits_up_to_the_limit() -> None:
    admission = Admission(1, 0, timeout=5)
    async with admission.slot():
        with pytest.raises(QueueFull):
            async with admission.slot():
                pass
    async with admission.slot():
        pass


async def test_a_cancelled_waiter_frees_its_slot() -> None:
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


async def test_an_error_releases_the_slot() -> None:
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


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        return self.now


class Requests:
    """Requests that hold their slot until released; `started` lists them in order."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self.admission = admission
        self.clock = clock
        self.started: list[str] = []
        self._release: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def send(self, name: str) -> None:
        """`name` is the caller and a number, such as `a1`; returns once it runs or waits."""
        self._release[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        self._release[name].set()
        await self._tasks[name]

    async def failure(self, name: str) -> BaseException | None:
        try:
            async with asyncio.timeout(5):
                await self._tasks[name]
        except QueueFull as error:
            return error
        return None

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)

    async def close(self) -> None:
        for release in self._release.values():
            release.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        assert (self.admission.running, self.admission.waiting) == (0, 0)

    async def _hold(self, name: str) -> None:
        async with self.admission.slot(name[0]) as slot:
            assert slot.caller == name[0]
            self.started.append(name)
            await self._release[name].wait()


@pytest.fixture
async def requests(request: pytest.FixtureRequest) -> AsyncIterator[Requests]:
    size, queue, share = getattr(request, "param", (1, 100, 0.5))
    clock = Clock()
    made = Requests(Admission(size, queue, 5, share, clock=clock.read), clock)
    yield made
    await made.close()


async def test_callers_take_turns(requests: Requests) -> None:
    for name in ("a0", "a1", "a2", "a3", "b0", "b1", "c0"):
        await requests.send(name)
    for name in ("a0", "b0", "c0", "a1", "b1", "a2"):
        await requests.end(name)
        await asyncio.sleep(0)
    assert requests.started == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


@pytest.mark.parametrize("requests", [(3, 100, 0.5)], indirect=True)
async def test_a_free_slot_is_given_to_the_caller_with_the_fewest_running(
    requests: Requests,
) -> None:
    for name in ("b0", "a0", "a1", "a2", "a3", "b1"):
        await requests.send(name)
    await requests.end("b0")
    await requests.end("a0")  # one of a and one of b run now; b was served last
    await asyncio.sleep(0)
    assert requests.started == ["b0", "a0", "a1", "b1", "a2"]


@pytest.mark.parametrize("requests", [(1, 4, 0.5)], indirect=True)
async def test_a_single_caller_uses_the_whole_queue(requests: Requests) -> None:
    for name in ("a0", "a1", "a2", "a3", "a4"):
        await requests.send(name)
    assert requests.admission.waiting == 4
    await requests.send("a5")
    assert isinstance(await requests.failure("a5"), QueueFull)


@pytest.mark.parametrize("requests", [(1, 4, 0.5)], indirect=True)
async def test_among_others_a_caller_has_its_share(requests: Requests) -> None:
    for name in ("b0", "a0", "a1", "a2"):
        await requests.send(name)
    assert requests.admission.waiting == 2
    assert isinstance(await requests.failure("a2"), QueueFull)
    await requests.end("b0")
    await asyncio.sleep(0)
    await requests.send("a3")  # b has left, and a1 is the only one that waits
    await requests.send("a4")
    assert requests.admission.waiting == 3


@pytest.mark.parametrize("requests", [(1, 4, 0.5)], indirect=True)
async def test_a_full_queue_makes_room_for_another_caller(requests: Requests) -> None:
    for name in ("a0", "a1", "a2", "a3", "a4", "b0"):
        await requests.send(name)
    assert isinstance(await requests.failure("a4"), QueueFull)
    assert requests.admission.waiting == 4
    await requests.send("b1")
    assert isinstance(await requests.failure("a3"), QueueFull)
    await requests.send("b2")
    assert isinstance(await requests.failure("b2"), QueueFull)
    await requests.end("a0")
    await asyncio.sleep(0)
    assert requests.started == ["a0", "b0"]


async def test_a_request_that_is_cancelled_as_it_starts_passes_its_slot_on(
    requests: Requests,
) -> None:
    for name in ("a0", "b0", "c0"):
        await requests.send(name)
    requests._release["a0"].set()
    await asyncio.sleep(0)  # a0 ends and b0 is given its slot, but has not run yet
    await requests.cancel("b0")
    await requests.end("a0")
    await asyncio.sleep(0)
    assert requests.started == ["a0", "c0"]


@pytest.mark.parametrize("requests", [(1, 2, 0.5)], indirect=True)
async def test_a_request_that_is_cancelled_as_it_is_refused_only_leaves(requests: Requests) -> None:
    for name in ("a0", "a1", "a2", "b0"):
        await requests.send(name)
    assert requests.admission.waiting == 2  # a1 and b0; a2 is refused, but has not run yet
    await requests.cancel("a2")
    assert requests._tasks["a2"].cancelled()
    await requests.end("a0")
    await asyncio.sleep(0)
    assert requests.started == ["a0", "b0"]


@pytest.mark.parametrize("requests", [(4, 100, 0.5)], indirect=True)
async def test_a_quarter_of_the_slots_is_kept_for_other_callers(requests: Requests) -> None:
    await requests.send("b0")
    await requests.end("b0")
    for name in ("a0", "a1", "a2", "a3"):
        await requests.send(name)
    assert requests.started == ["b0", "a0", "a1", "a2"]
    requests.clock.now += OTHERS_SECONDS - 1
    await requests.send("b1")
    assert requests.started[-1] == "b1"
    await requests.end("a0")
    await asyncio.sleep(0)
    assert requests.started[-1] == "a3"


@pytest.mark.parametrize("requests", [(4, 100, 0.5)], indirect=True)
async def test_a_caller_that_is_alone_again_uses_all_slots(requests: Requests) -> None:
    await requests.send("b0")
    await requests.end("b0")
    for name in ("a0", "a1", "a2", "a3", "a4"):
        await requests.send(name)
    requests.clock.now += OTHERS_SECONDS
    await requests.end("a0")
    await asyncio.sleep(0)
    assert requests.started == ["b0", "a0", "a1", "a2", "a3", "a4"]


@pytest.mark.parametrize("requests", [(4, 100, 0.5)], indirect=True)
async def test_no_slot_is_kept_for_a_caller_without_others(requests: Requests) -> None:
    for name in ("a0", "a1", "a2", "a3"):
        await requests.send(name)
    assert len(requests.started) == 4


async def test_the_estimated_wait_follows_the_duration_of_requests() -> None:
    clock = Clock()
    admission = Admission(2, 5, timeout=5, clock=clock.read)
    assert admission.retry_after() == 1.0  # at least
    for seconds, expected in ((21, 2.5), (5, 2.5), (0, 2.0), (1000, 60.0)):
        async with admission.slot():
            clock.now += seconds
        assert admission.retry_after() == pytest.approx(expected)


async def test_a_slot_has_the_time_it_was_waited_for() -> None:
    clock = Clock()
    admission = Admission(1, 1, timeout=5, clock=clock.read)
    async with admission.slot() as slot:
        assert slot.queue_ms == 0
        release = asyncio.Event()
        release.set()
        waiting = asyncio.create_task(hold(admission, release))
        await until_async(lambda: admission.waiting == 1)
        clock.now += 0.25
    assert await waiting == 250


async def test_a_caller_has_at_most_its_own_slots() -> None:
    clock = Clock()
    requests = Requests(Admission(4, 10, 5, caller_slots=2, clock=clock.read), clock)
    for name in ("a0", "a1", "a2", "b0"):
        await requests.send(name)
    assert requests.started == ["a0", "a1", "b0"]
    await requests.end("a1")
    await asyncio.sleep(0)
    assert requests.started == ["a0", "a1", "b0", "a2"]
    await requests.close()


async def test_the_callers_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "MOST_REMEMBERED", 3)
    admission = Admission(1, 0, timeout=5)
    for caller in "abcda":
        async with admission.slot(caller):
            assert len(admission._turns) <= 3
    assert list(admission._turns) == ["c", "d", "a"]


async def test_errors_have_the_numbers_and_the_estimated_wait() -> None:
    admission = Admission(1, 1, timeout=0.001)
    admission._mean_seconds = 5.0
    async with admission.slot("a"):
        with pytest.raises(Timeout, match=r"within 0\.001 seconds"):
            await run(admission, "b")
        admission.timeout = 60
        waiting = asyncio.create_task(run(admission, "b"))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="1 requests are running and 1 are waiting") as caught:
            await run(admission, "c")
        assert caught.value.retry_after == 10.0
    await waiting


async def test_a_share_is_at_least_one_request() -> None:
    admission = Admission(1, 4, timeout=5, share=0.1)
    async with admission.slot("a"):
        waiting = asyncio.create_task(run(admission, "b"))
        await until_async(lambda: admission.waiting == 1)
        with pytest.raises(QueueFull, match="1 of your requests"):
            await run(admission, "b")
    await waiting


async def run(admission: Admission, caller: str) -> None:
    async with admission.slot(caller):
        pass


async def test_a_running_request_takes_further_slots_that_nobody_waits_for() -> None:
    admission = Admission(4, 10, 5)
    async with admission.slot("a"):
        assert [admission.take_free("a") for _ in range(4)] == [True, True, True, False]
        assert admission.running == 4
        waiting = asyncio.create_task(_hold(admission, "b"))
        await asyncio.sleep(0)
        assert admission.waiting == 1
        admission.free("a")  # goes to the request that waits
        await waiting
        assert admission.running == 3
        assert not admission.take_free("a")  # the last quarter is kept for others now
        for _ in range(2):
            admission.free("a")
    assert admission.running == 0


async def _hold(admission: Admission, caller: str) -> None:
    async with admission.slot(caller):
        pass


async def test_it_is_idle_since_the_last_request_ended() -> None:
    clock = Clock()
    admission = Admission(1, 5, timeout=5, clock=clock.read)
    clock.now += 3
    assert admission.idle_seconds == 3
    async with admission.slot():
        clock.now += 2
        assert admission.idle_seconds == 0
    clock.now += 4
    assert admission.idle_seconds == 4
