"""Whether a model may yield, and from when. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleet_contract.status import ColdStart, Phase, Scaling
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.scaling import autoscale
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.scaling.neighbours import Candidate
from fleet_operator.decide.status import read_part
from fleet_operator.pause import is_paused
from fleet_operator.resources.views import PodView

UNSCALED = frozenset({Phase.DEGRADED, Phase.CONFLICT, Phase.FAILED})
"""Phases of models that may have a problem with which nothing is scaled: one that is chosen again
and again would keep all others from being chosen."""


def name_of(observed: Observed) -> str:
    """`namespace/name`, as in the status."""
    return f"{observed.namespace}/{observed.name}"


def candidate(observed: Observed, fallback_of: Iterable[Load] = ()) -> Candidate | None:
    """The model, if it is one that may yield at some time; None otherwise.

    `fallback_of` are the loads of models whose requests it serves while they have no server. A
    model is not stopped while a server of it starts or leaves, nor while a router is silent: it may
    have requests in flight.
    """
    spec, load, now = observed.resolution.spec, observed.load, observed.now
    if spec is None or spec.yields_after is None or spec.min_replicas:
        return None
    if not autoscale.is_on(spec) or is_paused(observed.model):
        return None
    deleted = observed.model["metadata"].get("deletionTimestamp")
    if deleted or observed.status.get("phase") in UNSCALED:
        return None
    pods = observed.present
    if not pods or not all(pod.active and pod.ready for pod in pods):
        return None
    loads = [load, *fallback_of]
    if any(each is None or not each.complete for each in loads):
        return None
    known = [each for each in loads if each is not None]
    past = read_part(Scaling, observed.status.get("scaling"))
    ready = observed.last_ready
    active = max(
        ready,
        autoscale.last_used(spec, load, past, observed.wake, now),
        *(each.last_request or 0.0 for each in known),
    )
    busy = any(each.in_flight for each in known)
    start = read_part(ColdStart, observed.status.get("coldStart"))
    # Without the time in which it waited for a place itself.
    took = start.total_seconds - (start.schedule_seconds or 0.0) if start is not None else 0.0
    stay = max(observed.settings.min_residency, took)
    since = now if busy else active
    return Candidate(
        name_of(observed), spec.priority, active, max(since + spec.yields_after, ready + stay),
        busy, pods,
    )  # fmt: skip


def may_yield_now(observed: Observed) -> bool:
    """Whether the model's servers may be stopped now for another one, or are stopped already by the
    same decision: its Deployment is scaled before its status is written, which may fail."""
    if _is_emptied(observed):
        load = observed.load
        return load is None or not load.in_flight
    own = candidate(observed)
    return own is not None and own.may_yield(observed.now)


def _is_emptied(observed: Observed) -> bool:
    """Whether the Deployment of a model that may yield has no replicas, but its status has."""
    spec, deployment = observed.resolution.spec, observed.deployment
    if spec is None or spec.yields_after is None or spec.min_replicas:
        return False
    past = read_part(Scaling, observed.status.get("scaling"))
    scaled = deployment is not None and deployment.get("spec", {}).get("replicas") == 0
    return scaled and (past is None or past.desired_replicas > 0)


def leaving(observed: Observed, name: str) -> tuple[PodView, ...]:
    """The servers of a model that is being scaled to zero, whose place `name` may take."""
    deployment = observed.deployment
    if deployment is None or deployment.get("spec", {}).get("replicas") != 0:
        return ()
    past = read_part(Scaling, observed.status.get("scaling"))
    if past is not None and past.yielded_to not in (None, name):
        return ()
    return observed.present
