"""Times at which a model is woken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from fleet_contract.blocks.wake import UTC_NAME, WakeTime, last_wake, next_wake
from fleet_contract.spec import ModelSpec

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    """Unix time of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def wakes(schedule: str, zone: str = UTC_NAME) -> WakeTime:
    return WakeTime.model_validate({"schedule": schedule, "timeZone": zone})


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "last", "following"),
    [
        ("45 7 * * MON-FRI", UTC_NAME, "01-05T07:45:00", "2026-01-05T07:45", "2026-01-06T07:45"),
        ("45 7 * * 1-5", UTC_NAME, "01-05T07:44:59", "2026-01-02T07:45", "2026-01-05T07:45"),
        ("45 7 * * 1-5", BERLIN, "01-05T07:00", "2026-01-05T06:45", "2026-01-06T06:45"),
        ("45 7 * * 1-5", BERLIN, "07-06T07:00", "2026-07-06T05:45", "2026-07-07T05:45"),
        ("*/30 * * * *", "Asia/Kolkata", "01-05T00:10", "2026-01-05T00:00", "2026-01-05T00:30"),
        # The clocks skip from 2 to 3.
        ("30 2 29 3 *", BERLIN, "03-29T12:00", "2026-03-29T01:00", "2027-03-29T00:30"),
    ],
)  # fmt: skip
def test_last_and_next_time(schedule: str, zone: str, now: str, last: str, following: str) -> None:
    times = [wakes(schedule, zone)]
    assert last_wake(times, at(f"2026-{now}")) == at(last)
    assert next_wake(times, at(f"2026-{now}")) == at(following)


@pytest.mark.parametrize(
    ("schedule", "fired"),
    [
        ("30 2 * * *", ["00:30"]), ("0 2 * * *", ["00:00"]), ("0 3 * * *", ["02:00"]),
        ("45 1-2 * * *", ["23:45", "00:45"]), ("30 * * * *", ["23:30", "00:30", "01:30"]),
    ],
)  # fmt: skip
def test_in_an_hour_that_is_repeated_no_time_of_the_day_is(schedule: str, fired: list[str]) -> None:
    times = [wakes(schedule, BERLIN)]
    begin = at("2026-10-24T23:00")  # The clocks are put back from 3 to 2 at 1:00 UTC.
    found: list[float] = []
    for minute in range(0, 200, 5):
        now = begin + 60 * minute
        last, following = last_wake(times, now), next_wake(times, now)
        assert following is not None
        assert last <= now < following
        found.append(last)
    assert found == sorted(found)
    seen = sorted({last for last in found if last >= begin})
    assert [datetime.fromtimestamp(last, UTC).strftime("%H:%M") for last in seen] == fired


def test_several_times_and_none() -> None:
    times = [wakes("0 6 * * *"), wakes("0 18 * * *")]
    assert last_wake(times, at("2026-01-05T12:00")) == at("2026-01-05T06:00")
    assert next_wake(times, at("2026-01-05T12:00")) == at("2026-01-05T18:00")
    assert (last_wake([], 1e9), next_wake([], 1e9)) == (0.0, None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schedule": "45 7 * *"}, "schedule"), ({"schedule": "@daily"}, "schedule"),
        ({"schedule": "60 7 * * *"}, "no cron expression"),
        ({"schedule": "1 2 3 4 5 6"}, "schedule"), ({"schedule": "0 0 30 2 *"}, "no cron"),
        ({"schedule": "0 7 * * *", "timeZone": "Europe/Atlantis"}, "Europe/Atlantis"),
        ({"schedule": "0 7 * * *", "timeZone": "../../etc/passwd"}, "timeZone"),
        ({"schedule": "0 7 * * *", "timeZone": "Europe"}, "is not known"),
        ({"schedule": "0 7 * * *", "timeZone": "/etc/localtime"}, "is not known"),
        ({"schedule": "0" * 99 + " 7 * * *"}, "schedule"),
    ],
)  # fmt: skip
def test_what_is_no_time(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WakeTime.model_validate(fields)


@pytest.mark.parametrize(
    "fields",
    [{"wakeAt": [{"schedule": "0 7 * * *"}]}, {"prewarm": {}}, {"prewarm": {"minutes": 5}}],
)
def test_only_models_that_stop_are_woken(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="need scaleToZeroAfter or yieldsAfter"):
        ModelSpec.model_validate({"model": "m", **fields})
    for stops in ({"scaleToZeroAfter": 60}, {"yieldsAfter": 0}):
        assert ModelSpec.model_validate({"model": "m", **fields, **stops}).is_on_demand
