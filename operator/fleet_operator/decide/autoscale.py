"""How many servers a model should have: a pure function of the spec, its load and its past.

The operator is the only writer of a Deployment's replicas. `spec.replicas` is for people, HPA and
KEDA; built-in autoscaling is on where `targetInFlight` or `scaleToZeroAfter` is set, and then
`spec.replicas` only says whether the model is stopped (0). All it must remember is in the status,
so a restarted operator goes on where it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import Scaling
from fleet_operator.timestamps import parse, render

REMEMBER_SECONDS = 15
"""While requests flow, the time of the last is written down this often."""


@dataclass(frozen=True, slots=True)
class Load:
    """A model's load summed over the routers at one moment.

    `requests` is the sum of their counters; `complete` is False when a router did not answer.
    """

    in_flight: float
    requests: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Servers wanted; `scaling` is what to remember, None where autoscaling is off.

    `requeue_after` is when the answer could change without anything happening, in seconds.
    """

    replicas: int
    reason: str
    scaling: Scaling | None = None
    requeue_after: float | None = None


def is_on(spec: ModelSpec) -> bool:
    """Whether built-in autoscaling decides."""
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
    """The wanted number of servers.

    `wake` is a router's annotation, `created` when the resource was made or a server last became
    ready, `delay` the operator's own scale-down delay in seconds, `starting` whether a server is
    on its way: one that loads for longer than the model may be idle is not stopped for that.
    Without a look at every router nothing is taken away.
    """
    asked = 1 if spec.replicas is None else spec.replicas
    if spec.engine is Engine.REMOTE:
        return Target(0, "Remote")
    if asked == 0:
        return Target(0, "Stopped")
    if not is_on(spec):
        return Target(asked, "Fixed")
    low, high = _bounds(spec, asked)
    present = past.desired_replicas if past is not None else max(low, min(asked, high))
    life = _life(spec, load, past, wake, created, now)
    told = load is not None and load.complete
    if life.idle and (present == 0 or (told and not starting)):
        return Target(0, "Idle", Scaling(desired_replicas=0, reason="Idle", **life.remembered()))
    wanted, since, peak = max(low, 1, present), None, None
    if spec.scale_down_delay is not None:
        delay = spec.scale_down_delay
    if spec.target_in_flight is not None:
        recommended = _recommended(spec.target_in_flight, load, max(low, 1), high, wanted)
        wanted, since, peak = _steady(wanted, recommended, past, now, delay)
    else:
        wanted = max(low, 1, min(asked, high))
    scaling = Scaling(
        desired_replicas=wanted,
        reason=_reason(load),
        low_since=render(since) if since is not None else None,
        low_peak=peak,
        **life.remembered(),
    )
    return Target(wanted, "Load", scaling, _again(spec, life.active, since, delay, now))


@dataclass(frozen=True, slots=True)
class _Life:
    """When a request was last seen, the counters at that time, and whether that is long ago."""

    active: float
    seen: int | None
    idle: bool

    def remembered(self) -> dict[str, Any]:
        return {"last_active_time": render(self.active), "requests_seen": self.seen}


def _life(
    spec: ModelSpec, load: Load | None, past: Scaling | None, wake: str | None,
    created: float, now: float,
) -> _Life:  # fmt: skip
    """Counters tell of requests that came and went between two looks, or while none looked."""
    after = spec.scale_to_zero_after or float("inf")
    known = parse(past.last_active_time) if past is not None else None
    seen = past.requests_seen if past is not None else None
    active = max(known or 0.0, created, min(parse(wake) or 0.0, now))
    counted = load.requests if load is not None and load.complete else None
    if counted is not None and seen is not None and counted < seen:
        seen = counted  # a router restarted: its counters began again
    moved = counted is not None and counted > (seen or 0)
    busy = moved or (load is not None and load.in_flight > 0)
    if busy and now - active >= min(REMEMBER_SECONDS, after / 3):
        active, seen = now, counted if counted is not None else seen
    return _Life(active, seen, idle=not busy and now - active >= after)


def _reason(load: Load | None) -> str:
    if load is None:
        return "RoutersUnknown"
    return "Load" if load.complete else "RouterSilent"


def _bounds(spec: ModelSpec, asked: int) -> tuple[int, int]:
    if spec.min_replicas is not None:
        low = spec.min_replicas
    else:
        low = 0 if spec.scale_to_zero_after is not None else 1
    high = spec.max_replicas if spec.max_replicas is not None else max(asked, low, 1)
    return low, high


def _recommended(aim: int, load: Load | None, low: int, high: int, present: int) -> int:
    if load is None:
        return present
    wanted = max(low, min(math.ceil(load.in_flight / aim), high))
    return wanted if load.complete else max(wanted, present)


def _steady(
    present: int, recommended: int, past: Scaling | None, now: float, delay: float
) -> tuple[int, float | None, int | None]:
    """Up at once; down to the most that was wanted once less has been wanted for `delay`."""
    if recommended >= present:
        return recommended, None, None
    since = parse(past.low_since) if past is not None else None
    if since is None or past is None:
        since, peak = now, recommended
    else:
        peak = max(past.low_peak or 1, recommended)
    if now - since < delay:
        return present, since, peak
    return (peak, now, recommended) if recommended < peak else (peak, None, None)


def _again(
    spec: ModelSpec, active: float, since: float | None, delay: float, now: float
) -> float | None:
    moments = [since + delay] if since is not None else []
    if spec.scale_to_zero_after is not None:
        moments.append(active + spec.scale_to_zero_after)
    ahead = [moment - now for moment in moments if moment > now]
    return min(ahead) if ahead else None
