"""Decides the phase of a model, with its reason and message. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_contract.status import DUPLICATE_MODEL, REMOTE_KEY_REFUSED, UNOBSERVED, Phase
from fleet_operator.decide.diagnosis import Stage
from fleet_operator.decide.observed import RemoteReport
from fleet_operator.decide.scaling.autoscale import YIELDED, Target
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.decide.turn import waiting_message
from fleet_operator.names import ANNOTATION_PAUSED
from fleet_operator.pause import PAUSED
from fleet_operator.resources.images import Problem

STARTING = frozenset({None, Phase.PENDING, Phase.PROGRESSING})
PERSISTED = ("scaling", "rollout", "traffic")
CONFLICTS = frozenset({DUPLICATE_MODEL, "NameTaken"})
WAITING_FOR_ROOM = "WaitingForRoom"
"""Reason of a model that fits nowhere, and that others stop for."""
REMOTE_REASONS = frozenset({"Remote", "RemoteUnreachable", "ProbingRemote", REMOTE_KEY_REFUSED})
"""Reasons of models served outside the cluster."""


@dataclass(frozen=True, slots=True)
class PhaseDecision:
    """`failed`: only a change will help. `settled`: no further change is expected by itself."""

    phase: Phase
    reason: str
    message: str
    failed: bool = False
    settled: bool = False


def decide_phase(
    servers: ServerSet,
    target: Target,
    problem: Problem | None,
    flaws: Sequence[Problem] = (),
    remote: RemoteReport | None = None,
    waits_for: tuple[str, ...] = (),
    room: str = "",
) -> PhaseDecision:
    """Errors take precedence over progress, and progress over Ready.

    `flaws` are problems despite which the model is served. `remote` is the last probe of a remote
    server, `waits_for` models whose rollouts come before this one's, `room` is what makes room for
    a model that fits nowhere, "" for nothing.
    """
    if problem is not None:
        return _wrong(servers, problem.reason, problem.message)
    if target.reason == "Remote":
        return _remote(remote)
    if servers.wanted == 0:
        return _resting(target)
    diagnosis = servers.deployment_problem() or servers.pod_problem
    if diagnosis is not None and not diagnosis.failed and room:
        message = f"{room} {diagnosis.message}"
        return PhaseDecision(Phase.PENDING, WAITING_FOR_ROOM, message)
    if diagnosis is not None and not diagnosis.failed:
        phase = Phase.DEGRADED if servers.ready else Phase.PENDING
        return PhaseDecision(phase, diagnosis.reason, diagnosis.message)
    if diagnosis is not None:
        return _wrong(servers, diagnosis.reason, diagnosis.message)
    # Complete in the present version, while the new one waits.
    if servers.is_complete and waits_for:
        return PhaseDecision(Phase.PROGRESSING, "WaitingForTurn", waiting_message(waits_for))
    if servers.is_complete and flaws:
        flaw = flaws[0]
        return PhaseDecision(Phase.DEGRADED, flaw.reason, flaw.message, failed=True, settled=True)
    if servers.is_complete:
        message = f"{servers.ready} of {servers.wanted} servers are ready."
        return PhaseDecision(Phase.READY, "Ready", message, settled=True)
    return _under_way(servers)


def is_passing(
    before: Mapping[str, Any], after: Mapping[str, Any], decision: PhaseDecision
) -> bool:
    """Whether a status only differs in the progress of a start, so that writing it can wait.

    Changes of the persisted state, of the generation or from a settled phase cannot wait.
    """
    under_way = decision.phase in STARTING and before.get("phase") in STARTING
    same = all((before.get(part) or {}) == (after.get(part) or {}) for part in PERSISTED)
    generation = before.get("observedGeneration", UNOBSERVED)
    return under_way and same and generation in (UNOBSERVED, after["observedGeneration"])


def _remote(remote: RemoteReport | None) -> PhaseDecision:
    if remote is None:
        message = "The remote server is being probed."
        return PhaseDecision(Phase.PROGRESSING, "ProbingRemote", message)
    if not remote.reachable:
        return PhaseDecision(
            Phase.FAILED, "RemoteUnreachable", remote.message, failed=True, settled=True
        )
    return PhaseDecision(Phase.READY, "Remote", remote.message, settled=True)


def _wrong(servers: ServerSet, reason: str, message: str) -> PhaseDecision:
    if reason in CONFLICTS:
        phase = Phase.CONFLICT
    else:
        phase = Phase.DEGRADED if servers.ready else Phase.FAILED
    return PhaseDecision(phase, reason, message, failed=True, settled=True)


def _resting(target: Target) -> PhaseDecision:
    if target.reason == PAUSED:
        message = f"The model has no servers, and the annotation {ANNOTATION_PAUSED} is set."
        return PhaseDecision(Phase.STOPPED, "Paused", message, settled=True)
    if target.reason == "Stopped":
        return PhaseDecision(Phase.STOPPED, "Stopped", "spec.stopped is true.", settled=True)
    if target.reason == "Zero":
        message = "spec.replicas is 0: requests wait until an autoscaler or a user raises it."
        return PhaseDecision(Phase.SCALED_TO_ZERO, "ScaledToZero", message, settled=True)
    scaling = target.scaling
    if target.reason == YIELDED and scaling is not None:
        ended = f"The model was idle and stopped for {scaling.yielded_to}"
        message = f"{ended}; the next request starts a server."
        return PhaseDecision(Phase.SCALED_TO_ZERO, YIELDED, message, settled=True)
    message = "The model has been idle; the next request starts a server."
    return PhaseDecision(Phase.SCALED_TO_ZERO, "ScaledToZero", message, settled=True)


def _under_way(servers: ServerSet) -> PhaseDecision:
    slowest = servers.slowest
    if slowest is None:
        phase = Phase.PROGRESSING if servers.ready else Phase.PENDING
        return PhaseDecision(phase, "CreatingPods", "The pods are being created.")
    if slowest.stage is not Stage.READY:
        pending = slowest.stage is Stage.SCHEDULING and not servers.ready
        phase = Phase.PENDING if pending else Phase.PROGRESSING
        return PhaseDecision(phase, slowest.reason, slowest.message)
    if servers.old:
        message = f"{len(servers.old)} servers of an older version are being replaced."
        return PhaseDecision(Phase.PROGRESSING, "RollingOut", message)
    message = f"{len(servers.current)} of {servers.wanted} servers exist."
    return PhaseDecision(Phase.PROGRESSING, "Scaling", message)
