"""The result of a reconcile: children, status, events and when to reconcile again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Ref
from fleet_operator.quantity import Amounts


class Beginning(NamedTuple):
    """A rollout that begins. The new pod's `requests` (thousandths) fit on `node`, "" if unknown;
    with `hands_over`, in place of an old one."""

    accelerated: bool
    node: str
    requests: Amounts
    hands_over: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """`objects` are all children that should exist, unchanged ones included.

    `delete` are existing children that should not. `requeue_after` is in seconds.
    `wants_stable_template` is the digest of a pod template needed for the next decision.
    `begins` is set if a rollout that replaces working servers begins now. `waits` is set if it has
    to wait for the rollouts of other models; its value is whether the new version has accelerators.
    `removes`: some of the servers are removed, others stay.
    `wants_neighbours`: the next decision needs the models that could make room for this one.
    `yields`: models (namespace/name) that stop for this one.
    `passing`: the status only reports progress and may be written a little later.
    """

    status: dict[str, Any]
    objects: tuple[dict[str, Any], ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    wants_stable_template: str | None = None
    passing: bool = False
    removes: bool = False
    begins: Beginning | None = None
    waits: bool | None = None
    wants_neighbours: bool = False
    yields: tuple[str, ...] = ()
