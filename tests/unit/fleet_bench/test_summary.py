"""Figures from samples."""

from __future__ import annotations

import pytest

from fleet_bench.load import Run
from fleet_bench.sample import ResponseStats, Sample
from fleet_bench.summary import spread, summarise


def test_percentiles_are_of_nearest_rank() -> None:
    found = spread([number / 100 for number in range(100, 0, -1)])
    assert found is not None
    assert (found.p50, found.p90, found.p99, found.most) == (0.5, 0.9, 0.99, 1.0)
    assert found.mean == pytest.approx(0.505)
    single = spread([3.0])
    assert single is not None
    assert (single.p50, single.p99) == (3.0, 3.0)
    assert spread([]) is None


def test_only_valid_responses_count() -> None:
    good = Sample(2.0, ResponseStats(first=0.5, gaps=[0.5, 1.0], tokens=4, prompt_tokens=10))
    found = summarise(Run([good, good, Sample(9.0, None, "timeout")], seconds=4.0))
    assert (found.requests, found.good, found.errors) == (3, 2, {"timeout": 1})
    assert found.requests_per_second == 0.5
    assert (found.tokens, found.tokens_per_second, found.prompt_tokens) == (8, 2.0, 20)
    assert found.decode_tokens_per_second == 2.0
    assert found.first_token is not None
    assert found.first_token.p99 == 0.5
    assert found.between_tokens is not None
    assert found.between_tokens.mean == 0.75
    assert found.latency is not None
    assert found.latency.most == 2.0
    assert found.items_per_second is found.times_real_time is None


def test_vectors_and_speech() -> None:
    vectors = summarise(Run([Sample(1.0, ResponseStats(items=32))] * 2, seconds=2.0))
    assert vectors.items_per_second == 32
    assert vectors.tokens_per_second is vectors.first_token is None
    speech = summarise(Run([Sample(1.0, ResponseStats(audio_seconds=30.0))], seconds=2.0))
    assert speech.times_real_time == 15


def test_without_a_valid_response_there_are_no_latencies() -> None:
    found = summarise(Run([Sample(1.0, None, "HTTP 500")] * 3, seconds=1.0))
    assert (found.good, found.errors) == (0, {"HTTP 500": 3})
    assert found.latency is None
    assert found.as_json()["requests_per_second"] == 0
