"""Times at which a model is woken ahead of requests: `wakeAt` and `prewarm` of a ModelSpec.

Schedules are those of Debian's cron, computed by cronsim: five fields, names of days and months,
and in other time zones than UTC its rules for the hours that a change of the clocks skips or
repeats. Time zones are those of the IANA database. Both are loaded on use: few models have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Self

from pydantic import Field, model_validator

from fleet_contract.spec_base import SpecPart

UTC_NAME = "Etc/UTC"
HOUR_SECONDS = 3600
WEEK_HOURS = 168
LONGEST_REPEAT = 2 * HOUR_SECONDS
"""The most that clocks are put back by (Antarctica/Troll)."""


class WakeTime(SpecPart):
    """Times at which a model that is scaled to zero starts, as by a request. It stays until it has
    been idle for scaleToZeroAfter, or for yieldsAfter if another model needs its place."""

    schedule: str = Field(max_length=100, pattern=r"^[^ ]+( +[^ ]+){4}$")
    """Minute, hour, day of the month, month and day of the week, as in cron: `45 7 * * MON-FRI`."""
    time_zone: str = Field(default=UTC_NAME, max_length=64, pattern=r"^[A-Za-z0-9+_/-]+$")
    """Time zone of the schedule, such as `Europe/Berlin`."""

    @model_validator(mode="after")
    def _exists(self) -> Self:
        from cronsim import CronSimError

        try:
            _next(self.schedule, self.time_zone, 0)
        except CronSimError as error:
            raise ValueError(
                f"schedule: {self.schedule!r} is no cron expression: {error}"
            ) from None
        except (KeyError, OSError, ValueError):  # as zoneinfo raises them
            raise ValueError(f"timeZone: {self.time_zone!r} is not known") from None
        return self


class Prewarm(SpecPart):
    """Wakes a model before the hours in which requests came a week ago."""

    minutes: int = Field(default=10, ge=1, le=60)
    """Minutes before such an hour; then the model stays until it is idle, as after wakeAt."""


def last_wake(times: Iterable[WakeTime], now: float) -> float:
    """The last of these times until `now` (Unix time), 0 without any."""
    minute = int(now // 60)
    return max((_last(one.schedule, one.time_zone, minute) for one in times), default=0.0)


def next_wake(times: Iterable[WakeTime], now: float) -> float | None:
    """The next of these times after `now` (Unix time)."""
    minute = int(now // 60)
    found = [_next(one.schedule, one.time_zone, minute) for one in times]
    return min((at for at in found if at is not None), default=None)


@lru_cache(maxsize=1024)
def _last(schedule: str, time_zone: str, minute: int) -> float:
    found = _times(schedule, time_zone, minute + 1, reverse=True)
    return next((at for at in found if at <= minute * 60), 0.0)


@lru_cache(maxsize=1024)
def _next(schedule: str, time_zone: str, minute: int) -> float | None:
    found = _times(schedule, time_zone, minute, reverse=False)
    return next((at for at in found if at > minute * 60), None)


def _times(schedule: str, time_zone: str, minute: int, *, reverse: bool) -> Iterator[float]:
    """The times after a minute since 1970, or before it, the nearest first.

    In an hour that a change of the clocks repeats, a time of the day is that of its first pass, so
    the first of them may be on the wrong side of the minute.
    """
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    zone = ZoneInfo(time_zone)
    start = datetime.fromtimestamp(minute * 60, zone)
    if reverse and start.fold:
        # By the clock, times of the first pass come after the start.
        start = datetime.fromtimestamp(minute * 60 + LONGEST_REPEAT, zone)
    return (found.timestamp() for found in CronSim(schedule, start, reverse=reverse))
