"""How a model that fits nowhere gets a place: which idle models stop for it, and when. Pure.

Of the nodes that would do without some of their models, the one is chosen whose models have the
lowest priority, then the fewest, then those that were idle for longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from fleet_contract.status import Scaling
from fleet_operator.decide.capacity import NOTHING, Used, fitting, why_not
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.rollout_strategy import Cluster, without
from fleet_operator.decide.scaling import autoscale, wake_times
from fleet_operator.decide.scaling.autoscale import Target
from fleet_operator.decide.scaling.neighbours import Candidate, Neighbours
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.decide.status import read_part
from fleet_operator.decide.surge import blockage
from fleet_operator.resources.views import NodeView, Raw
from fleet_operator.timestamps import parse, render

WANTED_SECONDS = 60.0
"""How long after its last request a model still makes others yield."""
SCHEDULED_SECONDS = 900.0
"""The same after a scheduled time."""
LEAVING_SECONDS = 2.0
AGAIN_SECONDS = 10.0
"""Time until the next decision while servers leave, and while no model may yield."""
DRIFT_SECONDS = 15.0
"""An estimate in the status that is closer to the new one is kept: each write costs a request."""


@dataclass(frozen=True, slots=True)
class Room:
    """The models that stop now (`namespace/name`), and when others may (Unix time).

    `requeue_after` is in seconds. `message` is "" if nothing makes room.
    """

    yields: tuple[str, ...] = ()
    at: float | None = None
    message: str = ""
    requeue_after: float = AGAIN_SECONDS


def is_wanted(observed: Observed, target: Target, servers: ServerSet) -> bool:
    """Whether requests, or a schedule, wait for a model that no node takes."""
    if target.reason != "Load" or servers.ready or servers.old or observed.cluster is None:
        return False
    blocked = blockage(servers, observed.now)
    if blocked is None or not (blocked.by_nodes or blocked.by_resources):
        return False
    spec, now = observed.resolution.spec, observed.now
    last = autoscale.last_request(observed.load, observed.wake, now)
    past = read_part(Scaling, observed.status.get("scaling"))
    scheduled = wake_times.last_time(spec, past, now) if spec is not None else 0.0
    return now - last < WANTED_SECONDS or now - scheduled < SCHEDULED_SECONDS


def find(observed: Observed, pod: Raw) -> Room | None:
    """The room for a pod with this PodSpec; None if the nodes or the neighbours are unknown."""
    spec = observed.resolution.spec
    if spec is None or observed.cluster is None or observed.neighbours is None:
        return None
    past = read_part(Scaling, observed.status.get("scaling"))
    known = parse(past.room_at) if past is not None else None
    room = make(pod, spec.priority, observed.cluster, observed.neighbours, observed.now)
    if room.at is None or known is None or abs(known - room.at) > DRIFT_SECONDS:
        return room
    return Room(room.yields, known, _later(known), room.requeue_after)


def noted(target: Target, room: Room | None) -> Target:
    """With the time at which there may be room for the model, as routers read it."""
    if room is None or target.scaling is None:
        return target
    at = render(room.at) if room.at is not None else None
    return replace(target, scaling=target.scaling.model_copy(update={"room_at": at}))


def make(pod: Raw, priority: int, cluster: Cluster, neighbours: Neighbours, now: float) -> Room:
    """What makes room for a pod of a model with `priority`."""
    used = reduce(without, neighbours.leaving, cluster.used)
    if fitting(pod, cluster.nodes, used):
        if not neighbours.leaving:
            return Room()  # the scheduler has another reason, or has not seen it yet
        message = "Servers that are being stopped make room."
        return Room(message=message, requeue_after=LEAVING_SECONDS)
    lower = [each for each in neighbours.candidates if each.priority <= priority]
    ready = [each for each in lower if each.may_yield(now)]
    if (chosen := _best(_options(pod, cluster.nodes, used, ready))) is not None:
        names = tuple(each.name for each in chosen)
        verb = "stops" if len(names) == 1 else "stop"
        return Room(names, None, f"{', '.join(names)} {verb} for it.", LEAVING_SECONDS)
    moments = [
        max(each.yields_at for each in option)
        for option in _options(pod, cluster.nodes, used, lower)
    ]
    if not moments:
        return Room()
    at = max(min(moments), now)
    return Room((), at, _later(at), min(max(at - now, LEAVING_SECONDS), AGAIN_SECONDS))


def _later(at: float) -> str:
    return f"The next model may stop for it at {render(at)}."


def _options(
    pod: Raw, nodes: Iterable[NodeView], used: Used, candidates: Sequence[Candidate]
) -> list[tuple[Candidate, ...]]:
    """For each node that would do without some of the candidates, these."""
    found = (_on_node(pod, node, used, candidates) for node in nodes)
    return [chosen for chosen in found if chosen]


def _on_node(
    pod: Raw, node: NodeView, used: Used, candidates: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    here = [each for each in candidates if any(one.node == node.name for one in each.pods)]
    if not here or why_not(pod, node, NOTHING) is not None:
        return ()
    chosen: list[Candidate] = []
    for each in sorted(here, key=lambda one: (one.priority, one.active)):
        chosen.append(each)
        if _fits(pod, node, used, chosen):
            break
    else:
        return ()
    for each in reversed(chosen[:-1]):
        rest = [other for other in chosen if other is not each]
        if _fits(pod, node, used, rest):  # those chosen after it free enough
            chosen = rest
    return tuple(chosen)


def _fits(pod: Raw, node: NodeView, used: Used, stopped: Iterable[Candidate]) -> bool:
    pods = (one for each in stopped for one in each.pods if one.node == node.name)
    # Of this node only: `without` copies the sums of all nodes that it is given.
    own: Used = {node.name: used.get(node.name, NOTHING)}
    return why_not(pod, node, reduce(without, pods, own)[node.name]) is None


def _best(options: Sequence[tuple[Candidate, ...]]) -> tuple[Candidate, ...] | None:
    return min(
        options,
        key=lambda chosen: (
            max(each.priority for each in chosen),
            len(chosen),
            max(each.active for each in chosen),
        ),
        default=None,
    )
