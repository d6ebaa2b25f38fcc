"""Diagnoses one pod from its status and its server's report. Pure.

Reasons are those of the model's status; messages come from scheduler, kubelet and server. From a
log only the failure events of this project's server are copied: other lines can contain anything
that the container could read, and users who may read an InferenceModel may have no right to logs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from fleet_contract.server_protocol import (
    LOAD_FAILED_EVENT,
    LOAD_FAILED_STATUS,
    START_FAILED_EVENT,
    ServerPhase,
    StartStage,
)
from fleet_contract.status import WeightsProgress
from fleet_operator.resources.views import PodView, Termination
from fleet_operator.server_report import ServerReport

LOG_CHARS = 1000
FAILURE_EVENTS = (LOAD_FAILED_EVENT, START_FAILED_EVENT)
SEE_LOG = "The log of the pod has the cause."


class Stage(IntEnum):
    """Stages of a server's start, in order."""

    SCHEDULING = 0
    CREATING = 1
    STARTING = 2
    FETCHING = 3
    LOADING = 4
    WARMING = 5
    READY = 6


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`failed`: the pod is not expected to become ready by itself."""

    stage: Stage
    reason: str
    message: str
    failed: bool = False
    progress: WeightsProgress | None = None


IMAGE_REASONS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed",
})  # fmt: skip
CREATE_REASONS = frozenset({
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    "PreCreateHookError", "PreStartHookError", "PostStartHookError",
})  # fmt: skip
ATTACH_FAILED = "FailedAttachVolume: Multi-Attach error"
"""Beginning of the warning where a volume for one node is still attached to another."""
PHASES: dict[str, tuple[Stage, str, str]] = {
    ServerPhase.STARTING: (Stage.STARTING, "Starting", "The server is starting."),
    ServerPhase.FETCHING: (
        Stage.FETCHING,
        "FetchingWeights",
        "The server is fetching its weights.",
    ),
    ServerPhase.CONVERTING: (
        Stage.FETCHING,
        "ConvertingWeights",
        "The server is converting its weights.",
    ),
    ServerPhase.LOADING: (Stage.LOADING, "LoadingModel", "The server is loading the model."),
    ServerPhase.WARMING: (Stage.WARMING, "WarmingUp", "The server is warming up."),
    ServerPhase.READY: (Stage.WARMING, "BecomingReady", "The server is ready, its pod not yet."),
    ServerPhase.DRAINING: (Stage.WARMING, "Draining", "The server is finishing its requests."),
}


def diagnose(pod: PodView, report: ServerReport | None, hint: str = "") -> Diagnosis:
    """The state of a pod that is not being deleted; `hint` is its last warning event."""
    if pod.ready:
        return Diagnosis(Stage.READY, "Ready", "")
    if pod.phase == "Failed":
        message = pod.message or "The pod has failed."
        return Diagnosis(Stage.CREATING, pod.reason or "PodFailed", message, failed=True)
    if not pod.node:
        return _scheduling(pod)
    reason, message = pod.waiting or ("", "")
    if reason in IMAGE_REASONS:
        return Diagnosis(Stage.CREATING, "ImagePullFailed", f"{reason}: {message}", failed=True)
    if reason in CREATE_REASONS:
        failed = Diagnosis(Stage.CREATING, "ContainerNotCreated", f"{reason}: {message}", True)
        return failed
    ended = pod.ended or pod.last_ended
    # A restarted container counts as crashed until it is ready, after exit status 0 too.
    if ended is not None and (ended.exit_code != 0 or pod.ended is None):
        return _crashed(pod, ended)
    if (reason or pod.started is None) and hint.startswith(ATTACH_FAILED):
        return Diagnosis(Stage.CREATING, "VolumeInUse", hint)
    if reason:
        text = hint or message or "The container is being created."
        return Diagnosis(Stage.CREATING, "CreatingContainer", text)
    if pod.started is None:
        text = hint or "The container is being created."
        return Diagnosis(Stage.CREATING, "CreatingContainer", text)
    phase = report.phase if report is not None else ServerPhase.STARTING
    stage, reason, message = PHASES.get(phase, PHASES[ServerPhase.STARTING])
    progress = report.progress if report is not None and stage is Stage.FETCHING else None
    if progress is not None:
        message = shown_progress(progress)
    return Diagnosis(stage, reason, message, progress=progress)


def shown_progress(progress: WeightsProgress) -> str:
    """`1.2 of 3.4 GB of weights, 56 MB/s, 40 s left`."""
    total = f" of {progress.total_bytes / 1e9:.2f}" if progress.total_bytes else ""
    text = f"{progress.done_bytes / 1e9:.2f}{total} GB of weights"
    if progress.bytes_per_second:
        text += f", {progress.bytes_per_second / 1e6:.1f} MB/s"
    if progress.seconds_left is not None:
        text += f", {progress.seconds_left} s left"
    return text


def _scheduling(pod: PodView) -> Diagnosis:
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        reason = scheduled.reason or "Unschedulable"
        return Diagnosis(Stage.SCHEDULING, reason, scheduled.message)
    return Diagnosis(Stage.SCHEDULING, "Scheduling", "The pod is waiting for the scheduler.")


def _crashed(pod: PodView, ended: Termination) -> Diagnosis:
    if ended.reason == "OOMKilled":
        limit = f" of {pod.memory_limit}" if pod.memory_limit else ""
        text = f"The server exceeded its memory limit{limit}."
        return Diagnosis(Stage.LOADING, "OutOfMemory", text, failed=True)
    entry = failure_event(ended.message) if pod.own_server else {}
    if pod.own_server and (
        ended.exit_code == LOAD_FAILED_STATUS or entry.get("event") == LOAD_FAILED_EVENT
    ):
        return _load_failure(entry)
    text = entry.get("message") or f"{ended.reason or 'unknown reason'}. {SEE_LOG}"
    return Diagnosis(
        Stage.STARTING,
        "CrashLoopBackOff",
        f"The server exited with status {ended.exit_code}, {pod.restarts} restarts: {text}",
        failed=True,
    )


def _load_failure(entry: Mapping[str, str]) -> Diagnosis:
    message, stage = entry.get("message") or SEE_LOG, entry.get("stage")
    if message.startswith("Golden check failed") or stage == StartStage.GOLDEN:
        return Diagnosis(Stage.WARMING, "GoldenCheckFailed", message, failed=True)
    if stage in (StartStage.FETCH, StartStage.CONVERT):
        return Diagnosis(Stage.FETCHING, "WeightsFailed", message, failed=True)
    return Diagnosis(Stage.LOADING, "LoadFailed", message, failed=True)


def failure_event(log: str) -> dict[str, str]:
    """`event`, `stage` and `message` of the last failure event in a log; empty without one."""
    for line in reversed(log.splitlines()):
        if not line.lstrip().startswith("{"):
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # logs are not trusted
            continue
        if isinstance(entry, dict) and entry.get("event") in FAILURE_EVENTS:
            fields = {name: str(entry.get(name) or "") for name in ("event", "stage", "message")}
            return {**fields, "message": fields["message"][:LOG_CHARS]}
    return {}
