"""What is to be said about a model in one word: phase, reason, message, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.status import Phase
from fleet_operator.decide.autoscale import Target
from fleet_operator.decide.diagnosis import Stage
from fleet_operator.decide.observed import RemoteReport
from fleet_operator.decide.server_set import PATIENT, ServerSet
from fleet_operator.resources.images import Problem

UNDER_WAY = frozenset({None, Phase.PENDING, Phase.PROGRESSING})
REMEMBERED = ("scaling", "rollout")
CONFLICTS = frozenset({"DuplicateModel", "NameTaken"})
ELSEWHERE = frozenset({"Remote", "RemoteUnreachable", "ProbingRemote"})
"""Reasons of models that are served outside the cluster."""


@dataclass(frozen=True, slots=True)
class PhaseDecision:
    """`failed`: only a change will help. `settled`: nothing more is to happen by itself."""

    phase: Phase
    reason: str
    message: str
    failed: bool = False
    settled: bool = False


def decide_phase(
    servers: ServerSet,
    target: Target,
    problem: Problem | None,
    flaw: Problem | None = None,
    remote: RemoteReport | None = None,
) -> PhaseDecision:
    """The most telling reason comes first: what is wrong, then what is going on, then Ready.

    A `flaw` keeps nobody from being served. `remote` is what an address elsewhere said.
    """
    if problem is not None:
        return _wrong(servers, problem.reason, problem.message)
    if target.reason == "Remote":
        return _elsewhere(remote)
    if servers.wanted == 0:
        return _resting(target)
    trouble = servers.deployment_trouble() or servers.trouble
    if trouble is not None and trouble.reason in PATIENT:
        phase = Phase.DEGRADED if servers.ready else Phase.PENDING
        return PhaseDecision(phase, trouble.reason, trouble.message)
    if trouble is not None:
        return _wrong(servers, trouble.reason, trouble.message)
    if servers.is_complete and flaw is not None:
        return PhaseDecision(Phase.DEGRADED, flaw.reason, flaw.message, failed=True, settled=True)
    if servers.is_complete:
        message = f"{servers.ready} of {servers.wanted} servers are ready."
        return PhaseDecision(Phase.READY, "Ready", message, settled=True)
    return _under_way(servers)


def is_passing(
    before: Mapping[str, Any], after: Mapping[str, Any], decision: PhaseDecision
) -> bool:
    """Whether a status tells of nothing but how far a start has come: the next one follows soon.

    What must be remembered, an edit taken up and the end of a rest are never that.
    """
    under_way = decision.phase in UNDER_WAY and before.get("phase") in UNDER_WAY
    same = all((before.get(part) or {}) == (after.get(part) or {}) for part in REMEMBERED)
    generation = before.get("observedGeneration", after["observedGeneration"])
    return under_way and same and generation == after["observedGeneration"]


def _elsewhere(remote: RemoteReport | None) -> PhaseDecision:
    if remote is None:
        message = "Whether anybody answers at the address is being asked."
        return PhaseDecision(Phase.PROGRESSING, "ProbingRemote", message)
    if not remote.answers:
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
    if target.reason == "Stopped":
        return PhaseDecision(Phase.STOPPED, "Stopped", "spec.replicas is 0.", settled=True)
    message = "No requests came for a while; the next one starts a server."
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
        message = f"{len(servers.old)} servers of an older version are leaving."
        return PhaseDecision(Phase.PROGRESSING, "RollingOut", message)
    message = f"{len(servers.current)} servers, {servers.wanted} wanted."
    return PhaseDecision(Phase.PROGRESSING, "Scaling", message)
