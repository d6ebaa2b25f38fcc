"""The result of a reconcile: children, status, events and when to reconcile again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Ref


@dataclass(frozen=True, slots=True)
class Decision:
    """`objects` are all children that should exist, unchanged ones included.

    `delete` are existing children that should not. `requeue_after` is in seconds.
    `wants_stable_template` is the digest of a pod template needed for the next decision.
    `passing`: the status only reports progress and may be written a little later.
    """

    status: dict[str, Any]
    objects: tuple[dict[str, Any], ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    wants_stable_template: str | None = None
    passing: bool = False
