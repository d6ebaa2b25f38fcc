"""The status of an InferenceModel, built whole from what was observed and decided; pure."""

from __future__ import annotations

from typing import Any

from fleet_contract.names import LABEL_MODEL
from fleet_contract.spec import ModelSpec
from fleet_contract.status import ColdStart, ModelStatus, Rollout, WeightsProgress
from fleet_operator.decide.autoscale import Target
from fleet_operator.decide.cold_start import cold_start
from fleet_operator.decide.conditions import Said, Truth, conditions
from fleet_operator.decide.diagnosis import Diagnosis, Stage
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.phase import ELSEWHERE, PhaseDecision
from fleet_operator.decide.remembered import remembered
from fleet_operator.decide.rollout_strategy import FIRST_VERSION, SURGE, Choice
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.resources.children import address
from fleet_operator.resources.images import Problem
from fleet_operator.server_report import ServerReport

ROLLOUT = "RolloutStrategy"
ACCELERATED = "Accelerated"
ALIASES = "AliasesServed"


def build(
    observed: Observed,
    facts: ServerSet,
    target: Target,
    verdict: PhaseDecision,
    choice: Choice | None,
    rollout: Rollout | None,
    flaw: Problem | None = None,
) -> dict[str, Any]:
    """The status in wire form. `choice` is a strategy chosen just now, None keeps what was said."""
    meta, before = observed.model["metadata"], observed.status
    spec = observed.resolution.spec
    generation = int(meta.get("generation", 0))
    report = _report(observed, facts)
    status = ModelStatus(
        observed_generation=generation,
        phase=verdict.phase,
        reason=verdict.reason,
        ready=f"{min(facts.ready, facts.wanted)}/{facts.wanted}",
        replicas=len(facts.current) + len(facts.old),
        ready_replicas=facts.ready,
        selector=f"{LABEL_MODEL}={observed.name}",
        url=address(observed.model, spec) if spec is not None else "",
        task=spec.task.value if spec is not None else "",
        engine=report.engine or _engine(spec, before),
        acceleration=report.device or before.get("acceleration", ""),
        weights=_progress(facts),
        cold_start=_cold_start(observed, facts),
        scaling=target.scaling,
        rollout=rollout,
        conditions=conditions(
            [
                *_conditions(facts, verdict, choice, before),
                *_accelerated(facts, report),
                *([Said(ALIASES, "False", flaw.reason, flaw.message)] if flaw else []),
            ],
            before.get("conditions") or (),
            generation,
            observed.now,
        ),
        resolved=_resolved(spec) if spec is not None else None,
    )
    wire = status.to_wire()
    # Zeros are said too: autoscalers read them, and people would miss them.
    return {"ready": status.ready, "replicas": 0, "readyReplicas": 0, **wire}


def _conditions(
    facts: ServerSet, verdict: PhaseDecision, choice: Choice | None, before: Any
) -> list[Said]:
    serving = verdict.phase.value == "Ready" or (facts.ready > 0 and facts.wanted > 0)
    count = f"{facts.ready} of {facts.wanted} servers are ready."
    if verdict.reason in ELSEWHERE:
        count = verdict.message
    if serving:
        word = verdict.reason if verdict.settled and not verdict.failed else "Serving"
        ready = Said("Ready", "True", word, count)
    else:
        ready = Said("Ready", "False", verdict.reason, verdict.message)
    if not verdict.settled:
        progressing = Said("Progressing", "True", verdict.reason, verdict.message)
    elif verdict.failed:
        progressing = Said("Progressing", "False", verdict.reason, verdict.message)
    else:
        progressing = Said("Progressing", "False", "Complete", verdict.message)
    said = [ready, progressing]
    if verdict.reason in ELSEWHERE:
        return said
    said += [_scheduled(facts, verdict), _weights(facts, verdict), _loaded(facts, verdict)]
    if choice is not None and choice.reason != FIRST_VERSION:
        kind = "Surge" if choice.strategy == SURGE else "HandOver"
        truth: Truth = "True" if choice.strategy == SURGE else "False"
        said.append(Said(ROLLOUT, truth, choice.reason, f"{kind}: {choice.message}"))
    else:
        kept = [old for old in before.get("conditions") or () if old.get("type") == ROLLOUT]
        said += [Said(ROLLOUT, old["status"], old["reason"], old["message"]) for old in kept]
    return said


def _scheduled(facts: ServerSet, verdict: PhaseDecision) -> Said:
    waiting = [one for _, one in facts.current if one.stage is Stage.SCHEDULING]
    if not facts.current:
        return Said("Scheduled", "Unknown", verdict.reason, "There are no pods.")
    if waiting:
        return Said("Scheduled", "False", waiting[0].reason, waiting[0].message)
    nodes = ", ".join(sorted({pod.node for pod, _ in facts.current}))
    return Said("Scheduled", "True", "Scheduled", f"On {nodes}.")


def _weights(facts: ServerSet, verdict: PhaseDecision) -> Said:
    kind, best = "WeightsReady", _best(facts)
    if best is None or best.stage < Stage.FETCHING:
        return Said(kind, "Unknown", verdict.reason, "No server has come to its weights yet.")
    if best.stage is Stage.FETCHING:
        return Said(kind, "False", best.reason, best.message)
    return Said(kind, "True", "WeightsReady", "The weights are complete.")


def _loaded(facts: ServerSet, verdict: PhaseDecision) -> Said:
    kind, best = "Loaded", _best(facts)
    if best is None or best.stage < Stage.LOADING:
        return Said(kind, "Unknown", verdict.reason, "No server has come to loading yet.")
    if best.failed or best.stage is Stage.LOADING:
        return Said(kind, "False", best.reason, best.message)
    return Said(kind, "True", "Loaded", "The model is loaded.")


def _accelerated(facts: ServerSet, report: ServerReport) -> list[Said]:
    """Whether servers that asked for an accelerator run on one; nothing where none did."""
    asked = {name for pod, _ in facts.current for name in pod.requests if "/" in name}
    if not asked or not report.device:
        return []
    if report.device == "cpu":
        text = f"The servers have {', '.join(sorted(asked))} and run on the CPU."
        return [Said(ACCELERATED, "False", "CpuFallback", text)]
    return [Said(ACCELERATED, "True", "OnAccelerator", f"On {report.device}.")]


def _best(facts: ServerSet) -> Diagnosis | None:
    """The current server that has come furthest, one without trouble before one with."""
    return max(
        (one for _, one in facts.current),
        key=lambda one: (not one.failed, one.stage),
        default=None,
    )


def _report(observed: Observed, facts: ServerSet) -> ServerReport:
    known = [observed.reports[pod.uid] for pod, _ in facts.current if pod.uid in observed.reports]
    ready = [report for report in known if report.phase == "ready"]
    return (ready or known or [ServerReport("")])[0]


def _engine(spec: ModelSpec | None, before: Any) -> str:
    if spec is None:
        return str(before.get("engine", ""))
    if spec.engine.value == "auto":
        return str(before.get("engine") or "auto")
    return spec.engine.value


def _progress(facts: ServerSet) -> WeightsProgress | None:
    known = [one.progress for _, one in facts.current if one.progress is not None]
    return min(known, key=lambda progress: progress.done_bytes, default=None)


def _cold_start(observed: Observed, facts: ServerSet) -> ColdStart | None:
    """The newest start that is known; the one said before where there is no newer."""
    starts = [
        start
        for pod, _ in facts.current
        if (report := observed.reports.get(pod.uid)) is not None and report.phase == "ready"
        if (start := cold_start(pod, report)) is not None
    ]
    before = remembered(ColdStart, observed.status.get("coldStart"))
    known = starts if before is None else [before, *starts]
    return max(known, key=lambda start: start.at, default=None)


def _resolved(spec: ModelSpec) -> dict[str, Any]:
    wire = spec.to_wire()
    wire.pop("files", None)
    return wire
