"""The rate limit, with a clock that only its own waits move."""

from __future__ import annotations

import asyncio

from fleet_kube.rate_limit import RateLimit


class Time:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def taken(limit: RateLimit, time: Time, number: int) -> float:
    began = time.now
    for _ in range(number):
        await limit.wait()
    return round(time.now - began, 6)


async def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    time = Time()
    limit = RateLimit(10, 5, time, time.sleep)
    assert await taken(limit, time, 5) == 0
    assert await taken(limit, time, 20) == 2.0
    time.now += 100  # a quiet time earns no more than one burst
    assert await taken(limit, time, 5) == 0
    assert await taken(limit, time, 1) == 0.1


async def test_a_pause_holds_up_everything() -> None:
    time = Time()
    limit = RateLimit(10, 5, time, time.sleep)
    limit.pause(3)
    assert await taken(limit, time, 1) == 3.1
    assert await taken(limit, time, 1) == 0.1
