"""The desired number of servers: a pure function of the spec, the load and the last status.

The operator is the only writer of a Deployment's replicas. `spec.replicas` is for people, HPA and
KEDA; built-in autoscaling is on where `targetInFlight` or `scaleToZeroAfter` is set, and then
`spec.replicas` only matters where it is 0: the model is stopped. The state of autoscaling is kept
in the status, so that a restarted operator continues from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.timestamps import parse, render

REMEMBER_SECONDS = 15
"""Interval at which the time of the last request is updated in the status."""


@dataclass(frozen=True, slots=True)
class Load:
    """A model's load summed over the routers at one moment.

    `requests` is the sum of their counters; `complete` is False when a router did not respond.
    """

    in_flight: float
    requests: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Target:
    """The desired number of servers; `scaling` is the state to keep, None where autoscaling is off.

    `requeue_after` is when the result may change without an event, in seconds.
    """

    replicas: int
    reason: str
    scaling: Scaling | None = None
    requeue_after: float | None = None


def is_on(spec: ModelSpec) -> bool:
    """Whether built-in autoscaling is on."""
    wanted = spec.target_in_flight is not None or spec.scale_to_zero_after is not None
    return wanted and spec.engine is not Engine.REMOTE


def target(
    spec: ModelSpec,
    load: Load | None,
    past: Scaling | None,
    wake: str | None,
    created: float,
    now: float,
    delay: float,
    starting: bool = False,
) -> Target:
    """The desired number of servers.

    `wake` is the routers' annotation, `created` when the resource was created or a server last
    became ready, `delay` the operator's scale-down delay in seconds. `starting` is whether a server
    is starting: one that takes longer to load than the model may be idle is not stopped for that.
    Servers are removed only when every router has been scraped.
    """
    requested = 1 if spec.replicas is None else spec.replicas
    if spec.engine is Engine.REMOTE:
        return Target(0, "Remote")
    if requested == 0:
        return Target(0, "Stopped")
    if not is_on(spec):
        return Target(requested, "Fixed")
    low, high = _bounds(spec, requested)
    current = past.desired_replicas if past is not None else max(low, min(requested, high))
    activity = _activity(spec, load, past, wake, created, now)
    complete = load is not None and load.complete
    if activity.idle and (current == 0 or (complete and not starting)):
        return Target(0, "Idle", Scaling(desired_replicas=0, reason="Idle", **activity.state()))
    wanted, since, peak = max(low, 1, current), None, None
    if spec.scale_down_delay is not None:
        delay = spec.scale_down_delay
    if spec.target_in_flight is not None:
        recommended = _recommended(spec.target_in_flight, load, max(low, 1), high, wanted)
        wanted, since, peak = _steady(wanted, recommended, past, now, delay)
    else:
        wanted = max(low, 1, min(requested, high))
    scaling = Scaling(
        desired_replicas=wanted,
        reason=_reason(load),
        low_since=render(since) if since is not None else None,
        low_peak=peak,
        **activity.state(),
    )
    return Target(wanted, "Load", scaling, _requeue_after(spec, activity.active, since, delay, now))


@dataclass(frozen=True, slots=True)
class _Activity:
    """Time of the last request, the counters at that time, and whether the model is idle."""

    active: float
    seen: int | None
    idle: bool

    def state(self) -> dict[str, Any]:
        return {"last_active_time": render(self.active), "requests_seen": self.seen}


def _activity(
    spec: ModelSpec, load: Load | None, past: Scaling | None, wake: str | None,
    created: float, now: float,
) -> _Activity:  # fmt: skip
    """Counters reveal requests that came and went between two scrapes, or without a scrape."""
    after = spec.scale_to_zero_after or float("inf")
    known = parse(past.last_active_time) if past is not None else None
    seen = past.requests_seen if past is not None else None
    active = max(known or 0.0, created, min(parse(wake) or 0.0, now))
    counted = load.requests if load is not None and load.complete else None
    if counted is not None and seen is not None and counted < seen:
        seen = counted  # a router restarted: its counters began at zero
    moved = counted is not None and counted > (seen or 0)
    busy = moved or (load is not None and load.in_flight > 0)
    if busy and now - active >= min(REMEMBER_SECONDS, after / 3):
        active, seen = now, counted if counted is not None else seen
    return _Activity(active, seen, idle=not busy and now - active >= after)


def _reason(load: Load | None) -> str:
    if load is None:
        return "RoutersUnknown"
    return "Load" if load.complete else "RouterSilent"


def _bounds(spec: ModelSpec, requested: int) -> tuple[int, int]:
    low = spec.min_replicas or 0
    high = spec.max_replicas if spec.max_replicas is not None else max(requested, low, 1)
    return low, high


def _recommended(aim: int, load: Load | None, low: int, high: int, current: int) -> int:
    if load is None:
        return current
    wanted = max(low, min(math.ceil(load.in_flight / aim), high))
    return wanted if load.complete else max(wanted, current)


def _steady(
    current: int, recommended: int, past: Scaling | None, now: float, delay: float
) -> tuple[int, float | None, int | None]:
    """Scale up at once; scale down after `delay` seconds, to the peak recommended meanwhile."""
    if recommended >= current:
        return recommended, None, None
    since = parse(past.low_since) if past is not None else None
    if since is None or past is None:
        since, peak = now, recommended
    else:
        peak = max(past.low_peak or 1, recommended)
    if now - since < delay:
        return current, since, peak
    return (peak, now, recommended) if recommended < peak else (peak, None, None)


def _requeue_after(
    spec: ModelSpec, active: float, since: float | None, delay: float, now: float
) -> float | None:
    moments = [since + delay] if since is not None else []
    if spec.scale_to_zero_after is not None:
        moments.append(active + spec.scale_to_zero_after)
    ahead = [moment - now for moment in moments if moment > now]
    return min(ahead) if ahead else None
