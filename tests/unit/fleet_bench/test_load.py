"""The closed and the open loop."""

from __future__ import annotations

from typing import Any

from fleet_bench.embeddings import Embeddings
from fleet_bench.load import run
from fleet_bench.sample import Sample
from fleet_bench.settings import BenchSettings


def workload(target: Any, **fields: Any) -> Embeddings:
    given: dict[str, Any] = {
        "base_url": target.url, "model": "m", "requests": 20, "concurrency": 4, "warmup": 0,
        "rate": None, "timeout": 10,
    }  # fmt: skip
    return Embeddings(BenchSettings(**given | fields), None, words=3, batch=1, encoding="float")


async def test_the_configured_number_of_clients_is_used(target: Any) -> None:
    work = workload(target)
    ticks: list[Sample] = []
    found = await run(work.settings, work, ticks.append)
    assert target.most_at_once == 4
    assert found.samples == ticks
    assert len(ticks) == 20
    assert found.seconds >= 20 / 4 * 0.01


async def test_warm_up_is_not_measured(target: Any) -> None:
    work = workload(target, requests=3, warmup=5)
    found = await run(work.settings, work)
    assert len(found.samples) == 3
    assert len(target.bodies) == 8


async def test_a_rate_is_kept_while_there_are_free_slots(target: Any) -> None:
    work = workload(target, requests=10, rate=50, concurrency=50)
    found = await run(work.settings, work)
    assert len(found.samples) == 10
    assert found.seconds >= 9 / 50


async def test_waiting_for_a_slot_counts_as_latency(target: Any) -> None:
    work = workload(target, requests=10, rate=1000, concurrency=1)
    found = await run(work.settings, work)
    assert target.most_at_once == 1
    assert max(sample.seconds for sample in found.samples) > 8 * 0.01
