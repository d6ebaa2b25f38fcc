"""Results that viewers share: until they are old, and whoever leaves."""

from __future__ import annotations

import asyncio

import pytest

from fleet_router.status.recent import Recent


class Query:
    """Counts its calls; the result is their number."""

    def __init__(self) -> None:
        self.calls = 0
        self.go_on = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.go_on.wait()
        return number


async def test_viewers_share_a_query_and_its_result() -> None:
    recent, query = Recent[str, int](60), Query()
    viewers = [asyncio.create_task(recent.of("a", query)) for _ in range(3)]
    await asyncio.sleep(0)
    viewers[0].cancel()
    await asyncio.sleep(0)
    query.go_on.set()
    assert await asyncio.gather(*viewers[1:]) == [1, 1]
    assert await recent.of("a", query) == 1
    assert await recent.of("b", query) == 2


async def test_an_old_result_is_replaced_but_no_query_runs_twice_at_a_time() -> None:
    recent, query = Recent[str, int](0), Query()
    first = asyncio.create_task(recent.of("a", query))
    await asyncio.sleep(0.001)
    second = asyncio.create_task(recent.of("a", query))
    await asyncio.sleep(0.001)
    query.go_on.set()
    assert [await first, await second] == [1, 1]
    await asyncio.sleep(0.001)
    assert await recent.of("a", query) == 2


async def test_other_keys_are_forgotten() -> None:
    recent, query = Recent[str, int](60), Query()
    query.go_on.set()
    for key in ("a", "b"):
        await recent.of(key, query)
    recent.keep({"a"})
    assert await recent.of("a", query) == 1
    assert await recent.of("b", query) == 3


async def test_an_error_is_that_of_every_viewer() -> None:
    async def fail() -> int:
        raise OSError("no")

    recent = Recent[str, int](60)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await recent.of("a", fail)


async def test_a_result_may_set_its_own_age() -> None:
    recent, query = Recent[str, int](0), Query()
    query.go_on.set()
    for _ in range(2):
        assert await recent.of("a", query, lambda number: 60.0) == 1
        await asyncio.sleep(0.001)
    assert await recent.of("a", query, lambda number: 0.0) == 2
