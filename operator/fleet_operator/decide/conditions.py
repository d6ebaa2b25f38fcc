"""Conditions by the Kubernetes API conventions; called by `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from fleet_contract.status import Condition
from fleet_operator.timestamps import render

MESSAGE_CHARS = 2000

Truth = Literal["True", "False", "Unknown"]


class Said(NamedTuple):
    """One condition as it holds now."""

    type: str
    status: Truth
    reason: str
    message: str


def conditions(
    said: Sequence[Said], before: Sequence[Mapping[str, Any]], generation: int, now: float
) -> list[Condition]:
    """Conditions in order; the time of a transition is kept while `status` stays the same."""
    since = {
        old["type"]: old["lastTransitionTime"]
        for old in before
        if any(new.type == old.get("type") and new.status == old.get("status") for new in said)
    }
    return [
        Condition(
            type=new.type,
            status=new.status,
            reason=new.reason,
            message=new.message[:MESSAGE_CHARS],
            last_transition_time=since.get(new.type, render(now)),
            observed_generation=generation,
        )
        for new in said
    ]
