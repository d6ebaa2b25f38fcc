"""When a model is wanted ahead of requests: by `wakeAt`, and by the hours of last week. Pure.

Hours are counted since 1970 in UTC, so that a week is always 168 of them. A change of the clocks
moves the pattern by an hour for one week.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet_contract.blocks.wake import HOUR_SECONDS, WEEK_HOURS, last_wake, next_wake
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Scaling


def last_time(spec: ModelSpec, past: Scaling | None, now: float) -> float:
    """When a schedule last wanted the model (Unix time), 0 for never.

    Until an hour begins that the model is started for, that is now.
    """
    return max(last_wake(spec.wake_at, now), min(_last_hour(spec, past, now), now))


def last_start(spec: ModelSpec, past: Scaling | None, now: float) -> float:
    """When a schedule last started the model (Unix time), 0 for never."""
    return max(last_wake(spec.wake_at, now), _last_hour(spec, past, now) - _ahead(spec), 0.0)


def next_time(spec: ModelSpec, active: Sequence[int], now: float) -> float | None:
    """When a schedule wants the model next (Unix time)."""
    moments = [next_wake(spec.wake_at, now)]
    moments += [at - _ahead(spec) for at in _hours(active) if at - _ahead(spec) > now]
    return min((at for at in moments if at is not None), default=None)


def active_hours(
    spec: ModelSpec, past: Scaling | None, last_request: float, now: float
) -> list[int]:
    """The hours of the last week with requests, the oldest first; without `prewarm`, none."""
    if spec.prewarm is None:
        return []
    known = set(past.active_hours) if past is not None else set()
    oldest = int(now // HOUR_SECONDS) - WEEK_HOURS
    return sorted(
        hour
        for hour in known | {int(last_request // HOUR_SECONDS)}
        if oldest <= hour <= oldest + WEEK_HOURS
    )


def _last_hour(spec: ModelSpec, past: Scaling | None, now: float) -> float:
    """The beginning of the last hour that the model was started for, 0 for none."""
    if spec.prewarm is None or past is None:
        return 0.0
    begun = (at for at in _hours(past.active_hours) if at - _ahead(spec) <= now)
    return max(begun, default=0.0)


def _hours(active: Sequence[int]) -> list[float]:
    """The beginnings of the hours a week later."""
    return [float((hour + WEEK_HOURS) * HOUR_SECONDS) for hour in active]


def _ahead(spec: ModelSpec) -> int:
    return spec.prewarm.minutes * 60 if spec.prewarm is not None else 0
