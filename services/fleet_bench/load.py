"""Load generation: a closed loop of clients, or an open loop at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx

from fleet_bench.http import client
from fleet_bench.sample import Failed, ResponseStats, Sample
from fleet_bench.settings import BenchSettings


class Workload(Protocol):
    """One kind of request."""

    async def send(self, http: httpx.AsyncClient, number: int) -> ResponseStats:
        """Send the request of this number. Raises Failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """All samples, and the seconds from the first request to the last response."""

    samples: list[Sample]
    seconds: float


Tick = Callable[[Sample], None]


async def run(settings: BenchSettings, workload: Workload, tick: Tick = lambda sample: None) -> Run:
    """Warm up, then measure. `tick` is called after every measured request."""
    async with client(settings) as http:
        await _closed(settings, workload, http, range(-settings.warmup, 0), lambda sample: None)
        samples: list[Sample] = []

        def count(sample: Sample) -> None:
            samples.append(sample)
            tick(sample)

        loop = _closed if settings.rate is None else _open
        started = time.perf_counter()
        await loop(settings, workload, http, range(settings.requests), count)
        return Run(samples, time.perf_counter() - started)


async def _closed(
    settings: BenchSettings,
    workload: Workload,
    http: httpx.AsyncClient,
    numbers: range,
    count: Tick,
) -> None:
    left = iter(numbers)

    async def one_client() -> None:
        for number in left:
            count(await _measured(workload, http, number, time.perf_counter()))

    await asyncio.gather(*(one_client() for _ in range(min(settings.concurrency, len(numbers)))))


async def _open(
    settings: BenchSettings,
    workload: Workload,
    http: httpx.AsyncClient,
    numbers: range,
    count: Tick,
) -> None:
    slots = asyncio.Semaphore(settings.concurrency)
    began = time.perf_counter()

    async def one_request(number: int, due: float) -> None:
        try:
            count(await _measured(workload, http, number, due))
        finally:
            slots.release()

    assert settings.rate is not None  # noqa: S101  (with a rate the loop is open)
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            due = began + number / settings.rate
            await asyncio.sleep(due - time.perf_counter())
            await slots.acquire()
            group.create_task(one_request(number, due))


async def _measured(
    workload: Workload, http: httpx.AsyncClient, number: int, started: float
) -> Sample:
    try:
        stats = await workload.send(http, number)
    except Failed as failed:
        return Sample(time.perf_counter() - started, None, str(failed))
    return Sample(time.perf_counter() - started, stats)
