"""The Kubernetes Events of a change of status, one for each transition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from fleet_contract.status import Phase
from fleet_operator.decide.phase import PhaseDecision
from fleet_operator.decide.rollout_strategy import FIRST_VERSION, RolloutChoice
from fleet_operator.decide.server_set import QUOTA
from fleet_operator.decide.traffic.canary import TAKEN_BACK
from fleet_operator.pause import PAUSED
from fleet_operator.resources.resolve import PROFILE_INVALID, PROFILES_MISSING

WARNINGS = ("CpuFallback", PROFILES_MISSING, PROFILE_INVALID, "SecretsWithheld")
"""Reasons of conditions that are Events too, whatever the phase is."""
WARNED = frozenset({"Unschedulable", QUOTA})
"""Reasons that are not failures, but need attention if they last."""


class Event(NamedTuple):
    """`reason` is machine-readable, `message` for people."""

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
    """The events of a change of status. `scaled` is (from, to, reason) if the number of servers
    changes now, `choice` the strategy if a rollout begins now."""
    found: list[Event] = []
    if choice is not None and choice.reason != FIRST_VERSION:
        found.append(Event("Normal", "RollingOut", f"{choice.reason}: {choice.message}"))
    if scaled is not None:
        old, new, why = scaled
        found.append(Event("Normal", "Scaled", f"From {old} to {new} servers: {why}."))
    for reason in WARNINGS:
        message = _of(after, reason)
        if message is not None and _of(before, reason) is None:
            found.append(Event("Warning", reason, message))
    found += _traffic(before, after)
    paused = _of(after, PAUSED)
    if paused is not None and _of(before, PAUSED) is None:
        found.append(Event("Normal", PAUSED, paused))
    if paused is None and _of(before, PAUSED) is not None:
        found.append(Event("Normal", "Resumed", "The model is no longer paused."))
    if before.get("reason") == decision.reason and before.get("phase") == decision.phase:
        return tuple(found)
    if decision.failed or decision.reason in WARNED:
        found.append(Event("Warning", decision.reason, decision.message))
    elif decision.phase is Phase.READY:
        found.append(Event("Normal", "Ready", decision.message))
    elif decision.phase in (Phase.SCALED_TO_ZERO, Phase.STOPPED) and decision.reason != PAUSED:
        found.append(Event("Normal", decision.reason, decision.message))
    return tuple(found)


def _traffic(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """The event of a change of the weight in a traffic group."""
    old, new = before.get("traffic") or {}, after.get("traffic") or {}
    if not new or old.get("weight") == new["weight"]:
        return []
    back = new["reason"] == TAKEN_BACK
    message = _of(after, new["reason"]) or f"{new['weight']}%"
    return [Event("Warning", TAKEN_BACK, message) if back else Event("Normal", "Shifted", message)]


def _of(status: Mapping[str, Any], reason: str) -> str | None:
    """The message of a condition with this reason."""
    conditions = status.get("conditions") or ()
    return next((one["message"] for one in conditions if one.get("reason") == reason), None)
