"""The delay between tries."""

from __future__ import annotations

from functools import partial

from fleet_kube import backoff

FIRST, LONGEST = 0.25, 30.0


def test_backoff_grows_and_is_jittered() -> None:
    delay = partial(backoff.delay, first=FIRST, longest=LONGEST)
    assert max(delay(1) for _ in range(50)) <= FIRST
    assert min(delay(30) for _ in range(50)) >= LONGEST / 2
    assert delay(1000) <= LONGEST
    assert len({delay(5) for _ in range(10)}) > 1
