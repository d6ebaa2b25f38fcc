"""Builds the status of an InferenceModel from what was observed and decided. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from fleet_contract.manifests import without_secrets
from fleet_contract.names import LABEL_MODEL
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_base import SpecPart
from fleet_contract.status import ColdStart, ModelStatus, Rollout, WeightsProgress
from fleet_operator.decide import conditions, inference_pool, profile_state, replica_writers
from fleet_operator.decide.cold_start import cold_start
from fleet_operator.decide.conditions import Extra
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.phase import PhaseDecision
from fleet_operator.decide.rollout_strategy import RolloutChoice
from fleet_operator.decide.scaling.autoscale import Target
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.decide.weights import withheld_secrets
from fleet_operator.resources.children import address
from fleet_operator.server_report import ServerReport

Part = TypeVar("Part", bound=SpecPart)


def build(
    observed: Observed,
    servers: ServerSet,
    target: Target,
    decision: PhaseDecision,
    choice: RolloutChoice | None,
    rollout: Rollout | None,
    extra: Extra,
) -> dict[str, Any]:
    """The status in wire form. `choice` is a strategy chosen now; None keeps its condition."""
    meta, before = observed.model["metadata"], observed.status
    spec = observed.resolution.spec
    generation = int(meta.get("generation", 0))
    report = _report(observed, servers)
    status = ModelStatus(
        observed_generation=generation,
        phase=decision.phase,
        reason=decision.reason,
        ready=f"{min(servers.ready, servers.wanted)}/{servers.wanted}",
        replicas=len(servers.current) + len(servers.old),
        ready_replicas=servers.ready,
        selector=f"{LABEL_MODEL}={observed.name}",
        url=address(observed.model, spec) if spec is not None else "",
        task=spec.task.value if spec is not None else "",
        engine=report.engine or _engine(spec, before),
        acceleration=report.device or before.get("acceleration", ""),
        weights=_progress(servers),
        cold_start=_cold_start(observed, servers),
        scaling=target.scaling,
        rollout=rollout,
        traffic=extra.share,
        conditions=conditions.render_all(
            [
                *conditions.of(
                    servers,
                    decision,
                    choice,
                    before.get("conditions") or (),
                    report,
                    extra,
                    spec.traffic if spec is not None else None,
                ),
                *conditions.contested(observed.namespace, observed.contender),
                *profile_state.conditions(observed),
                *withheld_secrets.conditions(observed),
                *replica_writers.conditions(observed),
                *inference_pool.conditions(
                    observed, applied=extra.problem is None and extra.pause is None
                ),
            ],
            before.get("conditions") or (),
            generation,
            observed.now,
        ),
        resolved=without_secrets(spec).to_wire() if spec is not None else None,
    )
    wire = status.to_wire()
    # The wire form omits defaults, but autoscalers read these zeros.
    return {"ready": status.ready, "replicas": 0, "readyReplicas": 0, **wire}


def _report(observed: Observed, servers: ServerSet) -> ServerReport:
    known = [observed.reports[pod.uid] for pod, _ in servers.current if pod.uid in observed.reports]
    ready = [report for report in known if report.phase == ServerPhase.READY]
    return (ready or known or [ServerReport("")])[0]


def _engine(spec: ModelSpec | None, before: Any) -> str:
    if spec is None:
        return str(before.get("engine", ""))
    if spec.engine.value == "auto":  # the last known choice, until a server reports one
        return str(before.get("engine") or "auto")
    return spec.engine.value


def _progress(servers: ServerSet) -> WeightsProgress | None:
    known = [one.progress for _, one in servers.current if one.progress is not None]
    return min(known, key=lambda progress: progress.done_bytes, default=None)


def _cold_start(observed: Observed, servers: ServerSet) -> ColdStart | None:
    """The newest cold start, the one in the present status included."""
    starts = [
        start
        for pod, _ in servers.current
        if (report := observed.reports.get(pod.uid)) is not None
        if report.phase == ServerPhase.READY
        if (start := cold_start(pod, report)) is not None
    ]
    before = read_part(ColdStart, observed.status.get("coldStart"))
    known = starts if before is None else [before, *starts]
    return max(known, key=lambda start: start.at, default=None)


def read_part(kind: type[Part], raw: Any) -> Part | None:
    """A part of an earlier status; None if absent or invalid.

    Another version or a person may have written it, which must not prevent the model from being
    served: unknown fields are ignored and an invalid part counts as absent.
    """
    if not isinstance(raw, dict):
        return None
    known = {field.alias for field in kind.model_fields.values()}
    try:
        return kind.model_validate({name: raw[name] for name in raw if name in known})
    except ValidationError:
        return None
