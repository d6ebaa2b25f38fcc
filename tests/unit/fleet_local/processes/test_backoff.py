"""Waits between restarts."""

from __future__ import annotations

import itertools

from fleet_local.processes.service import MOST_SECONDS, STEADY_SECONDS, Backoff


def waits(uptimes: list[float]) -> list[float]:
    steps = itertools.accumulate(uptimes, lambda state, up: state.after(up), initial=Backoff())
    return [state.seconds for state in list(steps)[1:]]


def test_each_failure_in_a_row_waits_twice_as_long() -> None:
    assert waits([0, 0, 3, 0]) == [0.5, 1, 2, 4]


def test_the_wait_is_bounded() -> None:
    assert waits([0] * 5000)[-1] == MOST_SECONDS


def test_a_steady_process_resets_the_backoff() -> None:
    assert waits([0, 0, 0, STEADY_SECONDS, 0]) == [0.5, 1, 2, 0.5, 1]
