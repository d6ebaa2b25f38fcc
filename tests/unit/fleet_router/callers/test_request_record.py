"""What is known of a request while its response arrives."""

from __future__ import annotations

import time

import pytest

from fleet_router.callers.request_record import RequestRecord
from fleet_router.upstream.connection import Head


def test_a_new_record_is_of_no_server_and_of_no_size() -> None:
    record = RequestRecord()
    assert (record.attempts, record.repeats, record.chunks) == (0, 0, 0)
    assert (record.prompt_bytes, record.sent_bytes, record.images) == (0, 0, 0)
    assert (record.held_ms, record.queue_ms, record.first_chunk_at) == (0, 0, 0)
    assert not record.received
    assert not record.estimated


def test_the_first_and_the_last_chunk_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((1.0, 2.0, 5.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    record = RequestRecord()
    for number in (1, 2, 3):
        record.count_chunk()
        assert record.chunks == number
    assert (record.first_chunk_at, record.last_chunk_at) == (1.0, 5.0)


@pytest.mark.parametrize(("value", "expected"), [(b"12.5", 12.5), (b"soon", 0.0), (None, 3.0)])
def test_the_queue_time_is_the_servers(value: bytes | None, expected: float) -> None:
    record = RequestRecord(queue_ms=3.0)
    headers = [] if value is None else [(b"x-modelfleet-queue-ms", value)]
    record.read_head(Head(200, headers))
    assert record.queue_ms == expected
