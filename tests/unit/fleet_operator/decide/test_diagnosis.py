"""Diagnoses of recorded pods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.status import WeightsProgress
from fleet_operator.decide.diagnosis import Stage, diagnose, failure_event
from fleet_operator.resources.views import PodView
from fleet_operator.server_report import ServerReport
from support.operator_objects import pod

OOM = {"exitCode": 137, "reason": "OOMKilled"}


def failed(message: str, **fields: Any) -> dict[str, Any]:
    line = json.dumps({"event": "load_failed", "message": message, **fields})
    return {"exitCode": 3, "reason": "Error", "message": f"loading\n{line}\n"}


@pytest.mark.parametrize(
    ("raw", "stage", "reason", "message", "failed"),
    [
        (pod(ready=True), Stage.READY, "Ready", "", False),
        (pod(ready=True, restarts=3, last_ended=OOM), Stage.READY, "Ready", "", False),
        (pod(node="", running=False), Stage.SCHEDULING, "Scheduling",
         "The pod is waiting for the scheduler.", False),
        (pod(unschedulable="0/3 nodes are available"), Stage.SCHEDULING, "Unschedulable",
         "0/3 nodes are available", False),
        (pod(waiting=("ContainerCreating", "")), Stage.CREATING, "CreatingContainer",
         "The container is being created.", False),
        (pod(running=False), Stage.CREATING, "CreatingContainer",
         "The container is being created.", False),
        (pod(waiting=("ErrImagePull", "no such host")), Stage.CREATING, "ImagePullFailed",
         "ErrImagePull: no such host", True),
        (pod(waiting=("InvalidImageName", "bad")), Stage.CREATING, "ImagePullFailed",
         "InvalidImageName: bad", True),
        (pod(waiting=("CreateContainerConfigError", "secret x")), Stage.CREATING,
         "ContainerNotCreated", "CreateContainerConfigError: secret x", True),
        (pod(), Stage.STARTING, "Starting", "The server is starting.", False),
        (pod(ended=OOM), Stage.LOADING, "OutOfMemory",
         "The server exceeded its memory limit of 1Gi.", True),
        (pod(waiting=("CrashLoopBackOff", "back-off"), last_ended=OOM, restarts=4), Stage.LOADING,
         "OutOfMemory", "The server exceeded its memory limit of 1Gi.", True),
        (pod(ended=failed("not a GGUF")), Stage.LOADING, "LoadFailed", "not a GGUF", True),
        (pod(last_ended=failed("not a GGUF"), restarts=1), Stage.LOADING, "LoadFailed",
         "not a GGUF", True),  # running once more: the reason does not flap
        (pod(ended=failed("Golden check failed: 4")), Stage.WARMING, "GoldenCheckFailed",
         "Golden check failed: 4", True),
        (pod(ended=failed("no revision", stage="fetch")), Stage.FETCHING, "WeightsFailed",
         "no revision", True),
        (pod(ended={"exitCode": 3, "reason": "Error", "message": ""}), Stage.LOADING,
         "LoadFailed", "The log of the pod has the cause.", True),
        (pod(waiting=("CrashLoopBackOff", ""), restarts=5,
             last_ended={"exitCode": 1, "reason": "Error", "message": "Traceback\nValueError: x"}),
         Stage.STARTING, "CrashLoopBackOff",
         "The server exited with status 1, 5 restarts: Error. The log of the pod has the cause.",
         True),
        (pod(ended={"exitCode": 2, "reason": "Error",
                    "message": '{"event": "start_failed", "message": "PORT=x"}'}),
         Stage.STARTING, "CrashLoopBackOff", "The server exited with status 2, 0 restarts: PORT=x",
         True),
        (pod(last_ended={"exitCode": 0, "reason": "Completed"}, restarts=1), Stage.STARTING,
         "CrashLoopBackOff", "The server exited with status 0, 1 restarts: Completed. The log of"
         " the pod has the cause.", True),
        (pod(phase="Failed"), Stage.CREATING, "PodFailed", "The pod has failed.", True),
    ],
)  # fmt: skip
def test_shapes(raw: dict[str, Any], stage: Stage, reason: str, message: str, failed: bool) -> None:
    found = diagnose(PodView.parse(raw), None)
    assert (found.stage, found.reason, found.message, found.failed) == (
        stage, reason, message, failed,
    )  # fmt: skip


def test_the_message_of_a_warning_event_is_reported() -> None:
    waiting = PodView.parse(pod(waiting=("ContainerCreating", "")))
    found = diagnose(waiting, None, "FailedMount: no such claim")
    assert (found.reason, found.message) == ("CreatingContainer", "FailedMount: no such claim")


@pytest.mark.parametrize(
    ("phase", "stage", "reason"),
    [
        ("starting", Stage.STARTING, "Starting"),
        ("fetching", Stage.FETCHING, "FetchingWeights"),
        ("converting", Stage.FETCHING, "ConvertingWeights"),
        ("loading", Stage.LOADING, "LoadingModel"),
        ("warming", Stage.WARMING, "WarmingUp"),
        ("ready", Stage.WARMING, "BecomingReady"),
        ("draining", Stage.WARMING, "Draining"),
        ("something new", Stage.STARTING, "Starting"),
    ],
)
def test_the_phase_of_a_server_determines_stage_and_reason(
    phase: str, stage: Stage, reason: str
) -> None:
    found = diagnose(PodView.parse(pod()), ServerReport(phase))
    assert (found.stage, found.reason, found.failed) == (stage, reason, False)


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ({"done_bytes": 10**9}, "1.00 GB of weights"),
        ({"done_bytes": 10**9, "total_bytes": 4 * 10**9, "bytes_per_second": 5 * 10**7,
          "seconds_left": 60}, "1.00 of 4.00 GB of weights, 50.0 MB/s, 60 s left"),
    ],
)  # fmt: skip
def test_progress_of_the_weights(progress: dict[str, int], text: str) -> None:
    report = ServerReport("fetching", progress=WeightsProgress.model_validate(progress))
    found = diagnose(PodView.parse(pod()), report)
    assert (found.message, found.progress) == (text, report.progress)


@pytest.mark.parametrize("command", [(), ("vllm", "serve"), ("sh", "-c", "cat /secret")])
def test_nothing_is_copied_from_the_log_of_another_program(command: tuple[str, ...]) -> None:
    ended = {**failed("the secret"), "message": "the secret\n" + failed("the secret")["message"]}
    found = diagnose(PodView.parse(pod(ended=ended, command=command)), None)
    assert (found.reason, found.message) == (
        "CrashLoopBackOff",
        "The server exited with status 3, 0 restarts: Error. The log of the pod has the cause.",
    )


FAILURE = {"event": "load_failed", "stage": "fetch", "message": "b"}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", {}),
        ("one\nthe secret\n\n", {}),
        ('{"message": "the secret"}', {}),
        ('{"event": "loaded", "message": "the secret"}', {}),
        (f'{json.dumps(FAILURE)}\n{{"event": "x"}}\n{{"cut', FAILURE),
        (f"{json.dumps(FAILURE)}\nthe secret", FAILURE),
        ('{"event": "start_failed"}', {"event": "start_failed", "stage": "", "message": ""}),
        (json.dumps({**FAILURE, "message": "x" * 5000, "path": "/a"}),
         {**FAILURE, "message": "x" * 1000}),
        ('["load_failed"]', {}),
        ('{"message":' + "[" * 4000, {}),
    ],
)  # fmt: skip
def test_only_failure_events_are_read_from_a_log(log: str, expected: dict[str, str]) -> None:
    assert failure_event(log) == expected


def test_the_stages_are_in_order() -> None:
    assert [(stage.name, stage.value) for stage in Stage] == [
        ("SCHEDULING", 0), ("CREATING", 1), ("STARTING", 2), ("FETCHING", 3), ("LOADING", 4),
        ("WARMING", 5), ("READY", 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "reason"), [(0, "CreatingContainer"), (1, "CrashLoopBackOff"), (2, "CrashLoopBackOff")]
)
def test_a_server_that_exited_with_0_is_about_to_be_started_again(code: int, reason: str) -> None:
    found = diagnose(PodView.parse(pod(running=False, ended={"exitCode": code})), None)
    assert found.reason == reason


def test_units_of_progress() -> None:
    numbers = {"done_bytes": 10**18, "total_bytes": 2 * 10**18, "bytes_per_second": 10**15}
    report = ServerReport("fetching", progress=WeightsProgress.model_validate(numbers))
    assert diagnose(PodView.parse(pod()), report).message == (
        "1000000000.00 of 2000000000.00 GB of weights, 1000000000.0 MB/s"
    )
