"""Concurrent jobs: all of them, a few at a time, until the first failure."""

from __future__ import annotations

import threading

import pytest

from fleet_weights.transfer import parallel
from fleet_weights.transfer.parallel import run_all


def test_runs_every_job_a_few_at_a_time() -> None:
    lock, running, most, done = threading.Lock(), 0, 0, 0

    def job() -> None:
        nonlocal running, most, done
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
            done += 1

    run_all([job] * 20, 3, lambda: None)
    assert done == 20
    assert most <= 3


def test_nothing_to_do() -> None:
    run_all([], 3, lambda: None)


def test_a_failure_ends_the_others_and_is_raised() -> None:
    unwanted, begun = threading.Event(), threading.Event()
    ended: list[str] = []

    def fails() -> None:
        begun.wait(10)
        raise ValueError("first")

    def waits() -> None:
        begun.set()
        unwanted.wait(10)
        ended.append("waits")

    with pytest.raises(ValueError, match="first"):
        run_all([waits, fails, lambda: ended.append("never")], 2, unwanted.set)
    assert ended[0] == "waits"


def test_a_job_that_does_not_end_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "GRACE_SECONDS", 0.05)
    for_ever = threading.Event()

    def fails() -> None:
        raise ValueError("now")

    with pytest.raises(ValueError, match="now"):
        run_all([lambda: for_ever.wait(60) and None, fails], 2, lambda: None)
    for_ever.set()
