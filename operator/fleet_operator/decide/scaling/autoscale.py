"""The desired number of servers: a pure function of the spec, the load and the last status.

The operator is the only writer of a Deployment's replicas. `spec.replicas` is for people, HPA and
KEDA; where it is 0, requests wait until one of them raises it. Built-in autoscaling is on where
`targetInFlight`, `scaleToZeroAfter` or `yieldsAfter` is set; then `spec.replicas` 0 only means that
the model starts without servers. `spec.stopped` comes before all of these. The state of autoscaling
is kept in the status, so that a restarted operator continues from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fleet_contract.blocks.wake import HOUR_SECONDS
from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.decide.scaling import wake_times
from fleet_operator.timestamps import parse, render

NOTED_SECONDS = 300.0
NOTED_SHARE = 0.25
"""The time of the last request in the status is at most this old while there are requests: a share
of `scaleToZeroAfter`, within a bound in seconds."""
YIELDED = "Yielded"
"""The reason of a model whose servers were stopped for another model."""
STOPPED = "Stopped"
PLACE_SECONDS = 60.0
"""How long a model that has yielded waits at most until the other one has its place: a server that
started earlier would compete for it."""
PLACED_SECONDS = 2.0
"""Time until the next decision while it waits."""
WAKE_SECONDS = 300.0
"""How long a request starts servers of a model that has none and is never scaled to zero."""


@dataclass(frozen=True, slots=True)
class Load:
    """A model's load summed over the routers at one moment.

    `last_request` is the Unix time at which a request last began or ended, None if no router
    reports one; `complete` is False when a router did not respond.
    """

    in_flight: int
    last_request: float | None
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
    fields = (spec.target_in_flight, spec.scale_to_zero_after, spec.yields_after)
    return (
        any(each is not None for each in fields)
        and not spec.stopped
        and spec.engine is not Engine.REMOTE
    )


def target(
    spec: ModelSpec,
    load: Load | None,
    past: Scaling | None,
    wake: str | None,
    created: float,
    now: float,
    delay: float,
    starting: bool = False,
    yields_to: str = "",
    unplaced: bool = False,
) -> Target:
    """The desired number of servers; the arguments are those of `_now`."""
    found = _now(spec, load, past, wake, created, now, delay, starting, yields_to, unplaced)
    if found.reason == STOPPED:
        # Kept for the time after: the pattern of a week would have to be learnt again.
        hours = wake_times.active_hours(spec, past, 0.0, now)
        kept = Scaling(desired_replicas=0, reason=STOPPED, active_hours=hours) if hours else None
        return replace(found, scaling=kept)
    if found.scaling is None or (not spec.wake_at and spec.prewarm is None):
        return found
    requests = last_request(load, None, now)
    hours = wake_times.active_hours(spec, past, requests, now)
    times = [wake_times.next_time(spec, hours, now), now + (found.requeue_after or math.inf)]
    soonest = min(at for at in times if at is not None) - now
    return replace(
        found,
        scaling=found.scaling.model_copy(update={"active_hours": hours}),
        requeue_after=soonest if soonest < math.inf else None,
    )


def _now(
    spec: ModelSpec, load: Load | None, past: Scaling | None, wake: str | None, created: float,
    now: float, delay: float, starting: bool, yields_to: str, unplaced: bool,
) -> Target:  # fmt: skip
    """The desired number of servers, without what is kept for later.

    `wake` is the routers' annotation, `created` when the resource was created or a server last
    became ready, `delay` the operator's scale-down delay in seconds. `starting` is whether a server
    is starting: one that takes longer to load than the model may be idle is not stopped for that.
    `yields_to` is a model for which the servers are stopped now, although they may not be idle for
    long enough otherwise; a model that has yielded starts again at the next request, but while
    `unplaced`, when the other model still waits for its place, only after a while.
    Servers are removed only when every router has responded.
    """
    requested = 1 if spec.replicas is None else spec.replicas
    if spec.engine is Engine.REMOTE:
        return Target(0, "Remote")
    if spec.stopped:
        return Target(0, STOPPED)
    if not is_on(spec):
        return Target(requested, "Fixed" if requested else "Zero")
    low, high = _bounds(spec, requested)
    yielded = _yielded_at(spec, past)
    if past is not None and yielded is not None:
        last = max(last_request(load, wake, now), wake_times.last_start(spec, past, now))
        held = last >= yielded and unplaced and now - yielded < PLACE_SECONDS
        if held or last < yielded:
            seconds = PLACED_SECONDS if held else _seconds_until(past.yielded_at, now)
            return Target(0, YIELDED, past.model_copy(update={"room_at": None}), seconds)
    if past is not None and past.reason != STOPPED:
        current = past.desired_replicas
    else:
        current = max(low, min(requested, high)) if requested else 0
    if requested and not _may_sleep(spec):
        current = max(low, 1, current)  # the spec was changed while the model slept
    if current == 0 and (requested == 0 or (past is not None and past.reason == YIELDED)):
        created = 0.0  # only a request starts a server
    after: float = spec.scale_to_zero_after or (math.inf if current else WAKE_SECONDS)
    activity = _activity(spec, load, past, wake, created, now, after)
    if yields_to:
        # A second later than now: the time is cut to whole seconds, and an earlier request must not
        # wake the model.
        scaling = Scaling(
            desired_replicas=0, reason=YIELDED, last_active_time=activity.noted,
            yielded_to=yields_to, yielded_at=render(now + 1),
        )  # fmt: skip
        return Target(0, YIELDED, scaling, _seconds_until(scaling.yielded_at, now))
    complete = load is not None and load.complete
    # A router that does not respond may have requests in flight, so no server is removed.
    if activity.idle and (current == 0 or (complete and not starting)):
        scaling = Scaling(desired_replicas=0, reason="Idle", last_active_time=activity.noted)
        return Target(0, "Idle", scaling)
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
        last_active_time=activity.noted,
    )
    return Target(wanted, "Load", scaling, _requeue_after(spec, activity, since, delay, now))


def is_news(spec: ModelSpec, before: Load | None, after: Load | None) -> bool:
    """Whether a change of the load may change the target at once.

    The time of the last request is also read whenever the model is reconciled; it is news only
    if it may wake the model, or is in another hour, with `prewarm`.
    """
    if before is None or after is None:
        return before is not after
    if before.complete != after.complete:
        return True
    if spec.target_in_flight is not None and before.in_flight != after.in_flight:
        return True
    if (before.in_flight > 0) != (after.in_flight > 0):
        return True
    old, new = before.last_request or 0.0, after.last_request or 0.0
    if spec.prewarm is not None and new // HOUR_SECONDS > old // HOUR_SECONDS:
        return True
    return new - old >= _noted_seconds(spec)


def last_used(
    spec: ModelSpec, load: Load | None, past: Scaling | None, wake: str | None, now: float
) -> float:
    """When a request or a schedule last used or wanted the model (Unix time), 0 if unknown."""
    noted = parse(past.last_active_time) if past is not None else None
    return max(noted or 0.0, last_request(load, wake, now), wake_times.last_time(spec, past, now))


def last_request(load: Load | None, wake: str | None, now: float) -> float:
    """When a request last used or wanted the model (Unix time), 0 if unknown."""
    # The clock of a router may be ahead: a wake in the future would keep the model from idling.
    moments = [min(parse(wake) or 0.0, now)]
    if load is not None:
        moments.append(now if load.in_flight > 0 else load.last_request or 0.0)
    return max(moments)


def _yielded_at(spec: ModelSpec, past: Scaling | None) -> float | None:
    """When the model has yielded, if it has no servers since (Unix time)."""
    if past is None or past.reason != YIELDED or past.desired_replicas or not _may_yield(spec):
        return None
    return parse(past.yielded_at)


def _seconds_until(time: str | None, now: float) -> float | None:
    """Seconds until an RFC 3339 time, None after it. A model that yields is decided again then: a
    request that came before is no news afterwards."""
    left = (parse(time) or 0.0) - now
    return left if left > 0 else None


def _may_yield(spec: ModelSpec) -> bool:
    return spec.yields_after is not None and not spec.min_replicas


def _may_sleep(spec: ModelSpec) -> bool:
    return spec.scale_to_zero_after is not None or _may_yield(spec)


@dataclass(frozen=True, slots=True)
class _Activity:
    """When the model was last used, that time as noted in the status, and whether it is idle."""

    active: float
    noted: str | None
    idle: bool


def _activity(
    spec: ModelSpec, load: Load | None, past: Scaling | None, wake: str | None,
    created: float, now: float, after: float,
) -> _Activity:  # fmt: skip
    known = parse(past.last_active_time) if past is not None else None
    active = max(created, last_used(spec, load, past, wake, now))
    idle = now - active >= after
    if spec.scale_to_zero_after is None:
        return _Activity(active, None, idle)  # not noted: each write of the status costs a request
    noted = past.last_active_time if past is not None else None
    if known is None or active - known >= (2.0 if idle else _noted_seconds(spec)):
        noted = render(active)
    return _Activity(active, noted, idle)


def _noted_seconds(spec: ModelSpec) -> float:
    after = spec.scale_to_zero_after or math.inf
    return min(after * NOTED_SHARE, NOTED_SECONDS)


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
    spec: ModelSpec, activity: _Activity, since: float | None, delay: float, now: float
) -> float | None:
    moments = [since + delay] if since is not None else []
    if spec.scale_to_zero_after is not None:
        moments.append(activity.active + spec.scale_to_zero_after)
        if activity.active > (parse(activity.noted) or 0.0) + 1.0:
            moments.append(now + _noted_seconds(spec))
    ahead = [moment - now for moment in moments if moment > now]
    return min(ahead) if ahead else None
