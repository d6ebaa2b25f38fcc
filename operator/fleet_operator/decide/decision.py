"""What one reconcile decided: acted upon by `execute`, compared whole by tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Ref


@dataclass(frozen=True, slots=True)
class Decision:
    """`objects` are all children that should exist, those that are as they should be included.

    `delete` are those that should not. `requeue_after` asks for another look, in seconds.
    `wants_stable_template` asks for the pod template of the version that last served, by digest.
    `passing`: the status tells only of what is under way, and may be written a little later.
    """

    status: dict[str, Any]
    objects: tuple[dict[str, Any], ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    wants_stable_template: str | None = None
    passing: bool = False
