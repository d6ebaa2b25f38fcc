"""The Kubernetes Events a change of status is worth: stable reasons, one for each transition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from fleet_contract.status import Phase
from fleet_operator.decide.phase import PhaseDecision
from fleet_operator.decide.rollout_strategy import FIRST_VERSION, RolloutChoice


class Event(NamedTuple):
    """`reason` is one of a fixed vocabulary, `message` for people."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    decision: PhaseDecision,
    scaled: tuple[int, int, str] | None,
    choice: RolloutChoice | None,
) -> tuple[Event, ...]:
    """What to tell of the change of a status. `scaled` is (from, to, why) where the number of
    servers changes now, `choice` the strategy where a rollout begins now."""
    told: list[Event] = []
    if choice is not None and choice.reason != FIRST_VERSION:
        told.append(Event("Normal", "RollingOut", f"{choice.reason}: {choice.message}"))
    if scaled is not None:
        old, new, why = scaled
        told.append(Event("Normal", "Scaled", f"From {old} to {new} servers: {why}."))
    slow = _of(after, "CpuFallback")
    if slow is not None and _of(before, "CpuFallback") is None:
        told.append(Event("Warning", "CpuFallback", slow))
    if before.get("reason") == decision.reason and before.get("phase") == decision.phase:
        return tuple(told)
    if decision.failed or decision.reason == "Unschedulable":
        told.append(Event("Warning", decision.reason, decision.message))
    elif decision.phase is Phase.READY:
        told.append(Event("Normal", "Ready", decision.message))
    elif decision.phase in (Phase.SCALED_TO_ZERO, Phase.STOPPED):
        told.append(Event("Normal", decision.reason, decision.message))
    return tuple(told)


def _of(status: Mapping[str, Any], reason: str) -> str | None:
    """The message of a condition with this reason."""
    conditions = status.get("conditions") or ()
    return next((one["message"] for one in conditions if one.get("reason") == reason), None)
