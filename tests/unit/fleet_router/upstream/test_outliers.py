"""Ejection, probes and slow start; the retry budget."""

from __future__ import annotations

import pytest

from fleet_router.routing.table import Endpoint
from fleet_router.upstream.outliers import FAILURES, FIRST_SECONDS, SLOW_START_SECONDS, Outliers
from fleet_router.upstream.retry_budget import MAX_RETRIES, RetryBudget

A, B = Endpoint("a", "10.0.0.1", 1), Endpoint("b", "10.0.0.2", 1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Outliers, Clock]:
    clock = Clock()
    health = Outliers(clock)
    health.add((A,))
    health.add((B,))
    return health, clock


def test_consecutive_failures_eject_and_a_success_resets_the_count() -> None:
    health, _ = made()
    for _ in range(FAILURES - 1):
        assert not health.failed(A)
    health.succeeded(A)
    for _ in range(FAILURES - 1):
        assert not health.failed(A)
    assert health.usable((A, B)) == [A, B]
    assert health.failed(A)
    assert health.usable((A, B)) == [B]


def test_a_refused_connection_ejects_at_once_unless_all_are_ejected() -> None:
    health, _ = made()
    assert health.failed(A, at_once=True)
    assert health.usable((A, B)) == [B]
    assert health.failed(B, at_once=True)
    assert health.usable((A, B)) == (A, B)


def test_one_request_probes_a_server_after_its_ejection_time() -> None:
    health, clock = made()
    health.failed(A, at_once=True)
    clock.now += FIRST_SECONDS
    assert health.usable((A, B)) == [A, B]
    health.started(A)
    assert health.usable((A, B)) == [B]
    health.succeeded(A)
    health.ended(A)
    assert health.usable((A, B)) == [A, B]
    health.started(A)
    assert health.usable((A, B)) == [A, B]


def test_a_failed_probe_ejects_for_longer_and_one_without_result_is_repeated() -> None:
    health, clock = made()
    health.failed(A, at_once=True)
    clock.now += FIRST_SECONDS
    health.started(A)
    health.ended(A)  # its client left
    assert health.usable((A, B)) == [A, B]
    health.started(A)
    assert health.failed(A)
    clock.now += FIRST_SECONDS
    assert health.usable((A, B)) == [B]
    clock.now += FIRST_SECONDS
    assert health.usable((A, B)) == [A, B]


def test_the_share_of_a_new_server_grows_gradually() -> None:
    health, clock = made()
    fresh = Endpoint("c", "10.0.0.3", 1)
    health.add((A, B, fresh))
    assert health.share(A) == 1.0
    shares = []
    for _ in range(5):
        shares.append(health.share(fresh))
        clock.now += SLOW_START_SECONDS / 4
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] == 1.0


def test_a_share_is_a_tenth_to_one_of_the_time_since_the_start() -> None:
    health, clock = made()
    slow = [Endpoint(name, "10.0.0.3", n) for n, name in enumerate("cde")]
    health.add(slow)
    start = clock.now
    for part, share in ((0, 0.1), (0.05, 0.1), (0.11, 0.11), (0.5, 0.5)):
        clock.now = start + part * SLOW_START_SECONDS
        assert health.share(slow[0]) == pytest.approx(share)
    clock.now = start + SLOW_START_SECONDS
    assert health.share(slow[0]) == 1.0
    clock.now = start + 1.5 * SLOW_START_SECONDS
    assert health.share(slow[1]) == 1.0
    clock.now = start + 3 * SLOW_START_SECONDS
    assert health.share(slow[2]) == 1.0


def test_ejections_are_at_most_half_a_minute() -> None:
    health, clock = made()
    for seconds in (1, 2, 4, 8, 16, 30, 30, *[30] * 20):
        assert health.failed(A, at_once=True)
        assert not health.failed(A, at_once=True)  # it is ejected already
        clock.now += seconds - 0.5
        assert health.usable((A, B)) == [B]
        clock.now += 0.5
        assert health.usable((A, B)) == [A, B]


def test_removed_endpoints_are_dropped() -> None:
    health, _ = made()
    health.failed(A, at_once=True)
    health.forget((A,))
    health.add((A,))
    assert health.usable((A, B)) == [A, B]
    assert not health.failed(Endpoint("x", "10.0.0.9", 1))


def test_retries_are_earned_by_requests() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(100)) == MAX_RETRIES
    for _ in range(50):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) in (9, 10)


def test_an_unused_budget_does_not_grow() -> None:
    budget = RetryBudget()
    budget.earn()
    assert sum(budget.spend() for _ in range(100)) == MAX_RETRIES
    for _ in range(4):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    budget.earn()
    assert budget.spend()
    assert not budget.spend()
