"""Keeps the load up: a closed loop of clients, or requests at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx

from fleet_bench.http import client
from fleet_bench.plan import Plan
from fleet_bench.sample import Answer, Failed, Sample


class Workload(Protocol):
    """One kind of request."""

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        """Send the request of this number. Raises Failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """All samples, and the seconds from the first request to the last answer."""

    samples: list[Sample]
    seconds: float


Tick = Callable[[Sample], None]


async def run(plan: Plan, workload: Workload, tick: Tick = lambda sample: None) -> Run:
    """Warm up, then measure. `tick` is called after every request that counts."""
    async with client(plan) as http:
        await _closed(plan, workload, http, range(-plan.warmup, 0), lambda sample: None)
        samples: list[Sample] = []

        def count(sample: Sample) -> None:
            samples.append(sample)
            tick(sample)

        loop = _closed if plan.rate is None else _open
        started = time.perf_counter()
        await loop(plan, workload, http, range(plan.requests), count)
        return Run(samples, time.perf_counter() - started)


async def _closed(
    plan: Plan, workload: Workload, http: httpx.AsyncClient, numbers: range, count: Tick
) -> None:
    left = iter(numbers)

    async def one_client() -> None:
        for number in left:
            count(await _measured(workload, http, number, time.perf_counter()))

    await asyncio.gather(*(one_client() for _ in range(min(plan.concurrency, len(numbers)))))


async def _open(
    plan: Plan, workload: Workload, http: httpx.AsyncClient, numbers: range, count: Tick
) -> None:
    places = asyncio.Semaphore(plan.concurrency)
    began = time.perf_counter()

    async def one_request(number: int, due: float) -> None:
        try:
            count(await _measured(workload, http, number, due))
        finally:
            places.release()

    assert plan.rate is not None  # noqa: S101  (what makes the loop an open one)
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            due = began + number / plan.rate
            await asyncio.sleep(due - time.perf_counter())
            await places.acquire()
            group.create_task(one_request(number, due))


async def _measured(
    workload: Workload, http: httpx.AsyncClient, number: int, started: float
) -> Sample:
    try:
        answer = await workload.send(http, number)
    except Failed as failed:
        return Sample(time.perf_counter() - started, None, str(failed))
    return Sample(time.perf_counter() - started, answer)
