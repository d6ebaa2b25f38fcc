"""The last requests and the intervals of models: what is kept, and that it is bounded."""

from __future__ import annotations

from fleet_router.callers import history
from fleet_router.callers.history import INTERVAL_SECONDS, INTERVALS, MAX_REQUESTS, History
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import RequestUsage


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def add(
    kept: History, model: str = "m", *, status: int = 200, caller: str = "c", seconds: float = 1.0,
    first: float | None = None, tokens: int = 0, key: str = "",
) -> None:  # fmt: skip
    record = RequestRecord(
        path="/v1/x", model=model, caller=caller, key=key,
        usage=RequestUsage(completion_tokens=tokens),
    )  # fmt: skip
    if first is not None:
        record.chunks, record.first_chunk_at = 1, first
    kept.add(record, status, 0.0, seconds, f"req-{model}")


def test_the_newest_requests_come_first_and_the_oldest_leave() -> None:
    kept = History(Clock())
    for number in range(MAX_REQUESTS + 1):
        add(kept, f"m{number % 2}", status=number)
    found = kept.requests(lambda one: one.model == "m0", 3)
    assert [one.status for one in found] == [MAX_REQUESTS, MAX_REQUESTS - 2, MAX_REQUESTS - 4]
    every = kept.requests(lambda one: True, MAX_REQUESTS * 2)
    assert (len(every), every[-1].status) == (MAX_REQUESTS, 1)


def test_requests_without_a_valid_key_replace_no_others() -> None:
    kept = History(Clock())
    add(kept, caller="")
    assert kept.requests(lambda one: True, 10) == []
    assert kept.intervals("m") == []


def test_a_request_without_a_model_is_kept_but_not_counted() -> None:
    kept = History(Clock())
    add(kept, "", status=404)
    assert [one.status for one in kept.requests(lambda one: True, 10)] == [404]
    assert kept.intervals("") == []


def test_an_interval_has_the_sums_and_maxima_of_its_requests() -> None:
    clock = Clock()
    kept = History(clock)
    add(kept, seconds=1.0, first=0.25, tokens=10)
    clock.now += INTERVAL_SECONDS - 1
    add(kept, seconds=3.0, status=500)
    clock.now += 1
    add(kept, seconds=5.0)
    first, second = kept.intervals("m")
    assert (first.requests, first.errors, first.seconds, first.longest) == (2, 1, 4.0, 3.0)
    assert (first.first, first.first_seconds, first.first_longest) == (1, 0.25, 0.25)
    assert (first.completion_tokens, second.requests) == (10, 1)
    assert second.start - first.start == INTERVAL_SECONDS
    [one, *_] = kept.requests(lambda one: one.first_ms is not None, 1)
    assert (one.ms, one.first_ms, one.at) == (1000.0, 250.0, 1_000_000.0)


def test_old_intervals_are_not_returned_and_models_are_bounded() -> None:
    clock = Clock()
    kept = History(clock)
    add(kept, "old")
    clock.now += INTERVALS * INTERVAL_SECONDS + 1
    assert kept.intervals("old") == []
    for number in range(history.MAX_MODELS):
        add(kept, f"m{number}")
    assert len(kept._models) == history.MAX_MODELS
    assert "old" not in kept._models


def test_rates_are_those_of_the_last_intervals() -> None:
    clock = Clock()
    kept = History(clock)
    assert kept.rates("m") == (0.0, 0.0)
    for _ in range(3):
        add(kept, tokens=100)
        clock.now += INTERVAL_SECONDS
    requests, tokens = kept.rates("m")
    assert (round(requests, 3), round(tokens, 1)) == (0.1, 10.0)
    clock.now += 10 * INTERVAL_SECONDS
    assert kept.rates("m") == (0.0, 0.0)
