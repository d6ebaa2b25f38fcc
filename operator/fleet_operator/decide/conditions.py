"""The conditions of an InferenceModel, following the Kubernetes API conventions. Pure.

`Ready` holds if the model is as its spec demands: the current version serves, or has no servers
because it is idle or stopped. `Available` holds while any server of any version is ready.
`Reconciling` and `Stalled` are present only while they hold (kstatus: github.com/kubernetes-sigs/
cli-utils, pkg/kstatus/README.md), so that tools which know no InferenceModel can wait for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from fleet_contract.blocks.traffic import Traffic
from fleet_contract.status import DUPLICATE_ALIAS, DUPLICATE_MODEL, Condition, Phase, TrafficShare
from fleet_operator.decide.diagnosis import Diagnosis, Stage
from fleet_operator.decide.phase import REMOTE_REASONS, PhaseDecision
from fleet_operator.decide.rollout_strategy import FIRST_VERSION, SURGE, RolloutChoice
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.decide.traffic import canary
from fleet_operator.pause import PAUSED, Pause
from fleet_operator.resources.images import Problem
from fleet_operator.resources.volume_access import REPLICAS_LIMITED
from fleet_operator.server_report import ServerReport
from fleet_operator.timestamps import render

MESSAGE_CHARS = 2000
ROLLOUT = "RolloutStrategy"
ACCELERATED = "Accelerated"
ALIASES = "AliasesServed"
AVAILABLE = "Available"
RECONCILING = "Reconciling"
STALLED = "Stalled"

CONTESTED = "NamespaceContested"

ConditionStatus = Literal["True", "False", "Unknown"]
Conditions = Sequence[Mapping[str, Any]]


class ConditionState(NamedTuple):
    """One condition without its times."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


class Extra(NamedTuple):
    """What only some models have. With a `problem` the servers are not those of the current spec,
    with `flaws` they are; `share` is that of a traffic group."""

    problem: Problem | None = None
    flaws: Sequence[Problem] = ()
    pause: Pause | None = None
    share: TrafficShare | None = None


def of(
    servers: ServerSet,
    decision: PhaseDecision,
    choice: RolloutChoice | None,
    before: Conditions,
    report: ServerReport,
    extra: Extra,
    traffic: Traffic | None,
) -> list[ConditionState]:
    """All current conditions, in the order of the status.

    `choice` is the rollout strategy chosen in this reconcile; without one the condition in `before`
    is kept.
    """
    pause = extra.pause
    problem = extra.problem or next(iter(extra.flaws), None)
    found = [
        _ready(servers, decision, problem, pause),
        _available(servers, decision),
        _progressing(decision),
        *_abnormal(decision),
    ]
    if pause is not None:
        found.append(ConditionState(PAUSED, "True", PAUSED, pause.message))
    if decision.reason not in REMOTE_REASONS:
        found += [
            _scheduled(servers, decision),
            _weights(servers, decision),
            _loaded(servers, decision),
            *_rollout(choice, before),
        ]
    if extra.share is not None and traffic is not None:
        status: ConditionStatus = "False" if extra.share.reason == canary.TAKEN_BACK else "True"
        message = canary.describe(traffic, extra.share)
        found.append(ConditionState(canary.TRAFFIC, status, extra.share.reason, message))
    found += _accelerated(servers, report)
    return found + [state for flaw in extra.flaws for state in _flaw(flaw)]


def _flaw(flaw: Problem) -> list[ConditionState]:
    """Empty for a flaw of an object with a condition of its own."""
    if flaw.reason == REPLICAS_LIMITED:
        return [ConditionState(REPLICAS_LIMITED, "True", "SingleNodeVolume", flaw.message)]
    if flaw.reason == DUPLICATE_ALIAS:
        return [ConditionState(ALIASES, "False", flaw.reason, flaw.message)]
    return []


def contested(namespace: str, contender: str) -> list[ConditionState]:
    """Whether a second release tries to serve the namespace; empty without one."""
    if not contender:
        return []
    message = (
        f"The operator of release namespace {contender!r} also watches namespace {namespace!r}. It"
        " changes nothing here as long as this operator holds the namespace's Lease. Remove the"
        " namespace from the watchNamespaces of one of them."
    )
    return [ConditionState(CONTESTED, "True", "SeveralReleases", message)]


def render_all(
    states: Sequence[ConditionState], before: Conditions, generation: int, now: float
) -> list[Condition]:
    """Conditions in wire form; lastTransitionTime changes only with `status`."""
    since = {
        old["type"]: old["lastTransitionTime"]
        for old in before
        if any(new.type == old.get("type") and new.status == old.get("status") for new in states)
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
        for new in states
    ]


def _ready(
    servers: ServerSet, decision: PhaseDecision, problem: Problem | None, pause: Pause | None
) -> ConditionState:
    if pause is not None and pause.pending:
        return ConditionState("Ready", "False", PAUSED, pause.message)
    if decision.settled and not decision.failed:
        return ConditionState("Ready", "True", decision.reason, decision.message)
    # Ready from the first current server on; others may still be starting.
    if problem is None and servers.current_ready and servers.wanted and not servers.old:
        return ConditionState("Ready", "True", "Serving", _count(servers))
    return ConditionState("Ready", "False", decision.reason, decision.message)


def _available(servers: ServerSet, decision: PhaseDecision) -> ConditionState:
    if decision.reason in REMOTE_REASONS:
        reachable = decision.phase is Phase.READY
        status: ConditionStatus = "True" if reachable else "False"
        return ConditionState(AVAILABLE, status, decision.reason, decision.message)
    # Routers send no requests to a model whose id belongs to another one.
    if servers.ready and servers.wanted and decision.reason != DUPLICATE_MODEL:
        return ConditionState(AVAILABLE, "True", "Serving", _count(servers))
    return ConditionState(AVAILABLE, "False", decision.reason, decision.message)


def _count(servers: ServerSet) -> str:
    return f"{min(servers.ready, servers.wanted)} of {servers.wanted} servers are ready."


def _abnormal(decision: PhaseDecision) -> list[ConditionState]:
    """`Reconciling` or `Stalled`, or none of them."""
    if decision.failed:
        return [ConditionState(STALLED, "True", decision.reason, decision.message)]
    if not decision.settled:
        return [ConditionState(RECONCILING, "True", decision.reason, decision.message)]
    return []


def _progressing(decision: PhaseDecision) -> ConditionState:
    if not decision.settled:
        return ConditionState("Progressing", "True", decision.reason, decision.message)
    reason = decision.reason if decision.failed else "Complete"
    return ConditionState("Progressing", "False", reason, decision.message)


def _rollout(choice: RolloutChoice | None, before: Conditions) -> list[ConditionState]:
    if choice is not None and choice.reason != FIRST_VERSION:
        surges = choice.strategy == SURGE
        message = f"{'Surge' if surges else 'HandOver'}: {choice.message}"
        return [ConditionState(ROLLOUT, "True" if surges else "False", choice.reason, message)]
    return [
        ConditionState(ROLLOUT, old["status"], old["reason"], old["message"])
        for old in before
        if old.get("type") == ROLLOUT
    ]


def _scheduled(servers: ServerSet, decision: PhaseDecision) -> ConditionState:
    waiting = [one for _, one in servers.current if one.stage is Stage.SCHEDULING]
    if not servers.current:
        return ConditionState("Scheduled", "Unknown", decision.reason, "There are no pods.")
    if waiting:
        return ConditionState("Scheduled", "False", waiting[0].reason, waiting[0].message)
    nodes = ", ".join(sorted({pod.node for pod, _ in servers.current}))
    return ConditionState("Scheduled", "True", "Scheduled", f"On {nodes}.")


def _weights(servers: ServerSet, decision: PhaseDecision) -> ConditionState:
    kind, best = "WeightsReady", _furthest(servers)
    if best is None or best.stage < Stage.FETCHING:
        message = "No server has started to fetch its weights yet."
        return ConditionState(kind, "Unknown", decision.reason, message)
    if best.stage is Stage.FETCHING:
        return ConditionState(kind, "False", best.reason, best.message)
    return ConditionState(kind, "True", "WeightsReady", "The weights are complete.")


def _loaded(servers: ServerSet, decision: PhaseDecision) -> ConditionState:
    kind, best = "Loaded", _furthest(servers)
    if best is None or best.stage < Stage.LOADING:
        message = "No server has started to load the model yet."
        return ConditionState(kind, "Unknown", decision.reason, message)
    if best.failed or best.stage is Stage.LOADING:
        return ConditionState(kind, "False", best.reason, best.message)
    return ConditionState(kind, "True", "Loaded", "The model is loaded.")


def _accelerated(servers: ServerSet, report: ServerReport) -> list[ConditionState]:
    """Whether servers that request an accelerator run on one; empty if none does."""
    requested = {name for pod, _ in servers.current for name in pod.requests if "/" in name}
    if not requested or not report.device:
        return []
    if report.device == "cpu":
        message = f"The servers requested {', '.join(sorted(requested))} but run on the CPU."
        return [ConditionState(ACCELERATED, "False", "CpuFallback", message)]
    return [ConditionState(ACCELERATED, "True", "OnAccelerator", f"On {report.device}.")]


def _furthest(servers: ServerSet) -> Diagnosis | None:
    """The current server at the latest stage, preferring those that have not failed."""
    return max(
        (one for _, one in servers.current),
        key=lambda one: (not one.failed, one.stage),
        default=None,
    )
