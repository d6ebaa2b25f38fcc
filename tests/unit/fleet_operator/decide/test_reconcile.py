"""Decisions, compared as a whole: children, status and events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_contract.server_protocol import LOAD_FAILED_EVENT
from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from fleet_operator.server_report import ServerReport
from fleet_operator.timestamps import render
from support.operator_objects import NOW, model, pod
from support.operator_states import again, condition_of, settled, version, with_uid

Observe = Callable[..., Observed]
TIME = render(NOW)


def test_the_first_reconciliation_of_a_model(observe: Observe) -> None:
    decision = reconcile(observe(model(task="embedding", replicas=2)))
    assert [child["kind"] for child in decision.objects] == [
        "Deployment", "Service", "PodDisruptionBudget",
    ]  # fmt: skip
    assert decision.objects[0]["spec"]["replicas"] == 2
    assert (decision.delete, decision.requeue_after, decision.wants_stable_template) == (
        (),
        None,
        None,
    )
    assert decision.events == ()

    def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
        return {"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": TIME, "observedGeneration": 2}  # fmt: skip

    creating = ("CreatingPods", "The pods are being created.")
    assert decision.status == {
        "observedGeneration": 2,
        "phase": "Pending",
        "reason": "CreatingPods",
        "ready": "0/2",
        "replicas": 0,
        "readyReplicas": 0,
        "selector": "modelfleet.dev/inferencemodel=m",
        "url": "http://m.ns.svc:8000",
        "task": "embedding",
        "engine": "auto",
        "rollout": {},
        "conditions": [
            condition("Ready", "False", *creating),
            condition("Available", "False", *creating),
            condition("Progressing", "True", *creating),
            condition("Reconciling", "True", *creating),
            condition("Scheduled", "Unknown", "CreatingPods", "There are no pods."),
            condition("WeightsReady", "Unknown", "CreatingPods",
                      "No server has started to fetch its weights yet."),
            condition("Loaded", "Unknown", "CreatingPods",
                      "No server has started to load the model yet."),
        ],
        "resolved": {"model": "org/m", "task": "embedding", "replicas": 2},
    }  # fmt: skip


def test_a_ready_model_is_not_changed_again(observe: Observe) -> None:
    stages = {"start": 0.5, "fetch": 1.0, "load": 2.0, "warm": 0.25}
    reports = {"uid-m-0": ServerReport("ready", "openvino", "cpu", None, stages)}
    observed = settled(observe, model(), {"ready": True}, reports=reports)
    decision = reconcile(observed)
    status = decision.status
    assert (status["phase"], status["reason"], status["ready"]) == ("Ready", "Ready", "1/1")
    assert (status["engine"], status["acceleration"]) == ("openvino", "cpu")
    assert status["coldStart"] == {
        "scheduleSeconds": 1.0, "imageSeconds": 3.0, "startSeconds": 0.5, "fetchSeconds": 1.0,
        "loadSeconds": 2.0, "warmSeconds": 0.25, "totalSeconds": 10.0, "at": "2026-01-01T11:59:10Z",
    }  # fmt: skip
    assert status["rollout"] == {"stableHash": version(observed)}
    assert condition_of(decision, "Ready") == ("True", "Ready", "1 of 1 servers are ready.")
    assert condition_of(decision, "Progressing") == (
        "False",
        "Complete",
        "1 of 1 servers are ready.",
    )
    assert condition_of(decision, "Scheduled") == ("True", "Scheduled", "On node-a.")
    assert (
        condition_of(decision, "WeightsReady")[0] == condition_of(decision, "Loaded")[0] == "True"
    )
    assert decision.events == (Event("Normal", "Ready", "1 of 1 servers are ready."),)

    later = reconcile(again(observed, decision))
    assert later.status == decision.status
    assert later.events == ()
    assert later.objects == decision.objects


FARES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"unschedulable": "0/1 nodes"}, "Pending", "Unschedulable", "True"),
    ({"waiting": ("ContainerCreating", "")}, "Progressing", "CreatingContainer", "True"),
    ({"waiting": ("ErrImagePull", "x")}, "Failed", "ImagePullFailed", "False"),
    ({"ended": {"exitCode": 137, "reason": "OOMKilled"}}, "Failed", "OutOfMemory", "False"),
    ({}, "Progressing", "Starting", "True"),
]


@pytest.mark.parametrize(("fare", "phase", "reason", "progressing"), FARES)
def test_status_with_one_server(
    observe: Observe, fare: dict[str, Any], phase: str, reason: str, progressing: str
) -> None:
    decision = reconcile(settled(observe, model(), fare))
    assert (decision.status["phase"], decision.status["reason"]) == (phase, reason)
    assert condition_of(decision, "Ready")[:2] == ("False", reason)
    assert condition_of(decision, "Progressing")[:2] == (progressing, reason)


@pytest.mark.parametrize(("fare", "phase", "reason", "progressing"), FARES)
def test_status_with_one_ready_server_of_two(
    observe: Observe, fare: dict[str, Any], phase: str, reason: str, progressing: str
) -> None:
    decision = reconcile(settled(observe, model(replicas=2), {"ready": True}, fare))
    troubled = phase in ("Failed", "Pending")
    assert decision.status["phase"] == ("Degraded" if troubled else "Progressing")
    assert (decision.status["reason"], decision.status["ready"]) == (reason, "1/2")
    assert condition_of(decision, "Ready") == ("True", "Serving", "1 of 2 servers are ready.")
    assert condition_of(decision, "Progressing")[:2] == (progressing, reason)


def test_transition_times_change_with_the_status_only(observe: Observe) -> None:
    starting = settled(observe, model(), {})
    first = reconcile(starting)
    loading = replace(again(starting, first), reports={"uid-m-0": ServerReport("loading")})
    second = reconcile(loading)
    (ready,) = [one for one in second.status["conditions"] if one["type"] == "Ready"]
    (weights,) = [one for one in second.status["conditions"] if one["type"] == "WeightsReady"]
    assert (ready["reason"], ready["lastTransitionTime"]) == ("LoadingModel", TIME)
    assert (weights["status"], weights["lastTransitionTime"]) == ("True", render(NOW + 60))


def test_zero_replicas_are_asleep(observe: Observe) -> None:
    decision = reconcile(settled(observe, model(replicas=0)))
    assert (decision.status["phase"], decision.status["ready"]) == ("ScaledToZero", "0/0")
    assert decision.objects[0]["spec"]["replicas"] == 0
    assert "requests wait" in condition_of(decision, "Ready")[2]


def test_stopped(observe: Observe) -> None:
    decision = reconcile(settled(observe, model(replicas=2, stopped=True)))
    assert (decision.status["phase"], decision.status["ready"]) == ("Stopped", "0/0")
    assert decision.objects[0]["spec"]["replicas"] == 0
    assert condition_of(decision, "Ready")[:2] == ("True", "Stopped")
    assert condition_of(decision, "Available")[:2] == ("False", "Stopped")
    assert condition_of(decision, "Progressing")[:2] == ("False", "Complete")


def test_scaling_emits_an_event(observe: Observe) -> None:
    observed = settled(observe, model(), {"ready": True})
    grown = replace(observed, model=model(replicas=3))
    grown = replace(grown, resolution=observe(model(replicas=3)).resolution)
    decision = reconcile(again(grown, reconcile(observed)))
    assert decision.events == (Event("Normal", "Scaled", "From 1 to 3 servers: Fixed."),)
    assert [child["kind"] for child in decision.objects][-1] == "PodDisruptionBudget"
    assert decision.status["reason"] == "Scaling"
    ref = Ref("PodDisruptionBudget", "m")
    children = {**observed.children, ref: with_uid(decision.objects[-1])}
    back = reconcile(again(replace(observed, children=children), decision))
    assert back.delete == (Ref("PodDisruptionBudget", "m"),)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"foreign": frozenset({Ref("Service", "m")})}, "NameTaken"),
        ({"errors": {Ref("Deployment", "m"): "quota"}}, "ApplyFailed"),
    ],
)
def test_other_problems_do_not_delete_the_servers(
    observe: Observe, fields: dict[str, Any], reason: str
) -> None:
    observed = replace(settled(observe, model(), {"ready": True}), **fields)
    decision = reconcile(observed)
    assert (decision.status["reason"], decision.objects, decision.delete) == (reason, (), ())
    assert condition_of(decision, "Available")[0] == "True"
    assert decision.status["ready"] == "1/1"


def test_a_refused_deletion_is_a_flaw(observe: Observe) -> None:
    refs = (Ref("Service", "m"), Ref("PodDisruptionBudget", "m"))
    undeleted = dict.fromkeys(refs, "denied by a policy")
    served = reconcile(replace(settled(observe, model(), {"ready": True}), undeleted=undeleted))
    message = "PodDisruptionBudget m: denied by a policy"
    assert (served.status["phase"], served.status["reason"]) == ("Degraded", "DeleteRefused")
    assert condition_of(served, "Ready") == ("False", "DeleteRefused", message)
    assert condition_of(served, "Available")[0] == "True"
    assert served.events == (Event("Warning", "DeleteRefused", message),)
    assert [child["kind"] for child in served.objects] == ["Deployment", "Service"]
    starting = reconcile(replace(settled(observe, model(), {}), undeleted=undeleted))
    assert starting.status["phase"] == "Progressing"


def test_conditions_of_the_deployment_are_reported_without_a_failed_pod(observe: Observe) -> None:
    observed = settled(observe, model())
    ref = Ref("Deployment", "m")
    for kind, status, reason in (
        ("ReplicaFailure", "True", "PodsNotCreated"),
        ("Progressing", "False", "DeadlineExceeded"),
    ):
        deployment = {**observed.children[ref], "status": {"conditions": [
            {"type": kind, "status": status, "message": "why"}]}}  # fmt: skip
        decision = reconcile(replace(observed, children={**observed.children, ref: deployment}))
        assert (decision.status["phase"], decision.status["reason"]) == ("Failed", reason)
        assert condition_of(decision, "Ready")[2] == "why"


def test_progress_is_that_of_the_slowest(observe: Observe) -> None:
    from fleet_contract.status import WeightsProgress

    reports = {
        f"uid-m-{i}": ServerReport("fetching", progress=WeightsProgress(done_bytes=done))
        for i, done in enumerate((500, 100))
    }
    observed = replace(settled(observe, model(replicas=2), {}, {}), reports=reports)
    decision = reconcile(observed)
    assert decision.status["weights"] == {"doneBytes": 100}
    assert condition_of(decision, "WeightsReady")[:2] == ("False", "FetchingWeights")
    done = replace(observed, reports=dict.fromkeys(reports, ServerReport("loading")))
    assert "weights" not in reconcile(again(done, decision)).status


def test_a_restarted_container_reports_no_cold_start(observe: Observe) -> None:
    reports = {"uid-m-0": ServerReport("ready")}
    observed = settled(observe, model(), {"ready": True, "restarts": 1}, reports=reports)
    assert "coldStart" not in reconcile(observed).status


def test_the_cold_start_outlives_its_pod(observe: Observe) -> None:
    reports = {"uid-m-0": ServerReport("ready")}
    observed = settled(observe, model(), {"ready": True}, reports=reports)
    decision = reconcile(observed)
    gone = replace(again(observed, decision), pods=(), reports={})
    assert reconcile(gone).status["coldStart"] == decision.status["coldStart"]


def test_scale_to_zero_requeues_the_model(observe: Observe) -> None:
    from fleet_operator.decide.scaling.autoscale import Load

    spec = {"scaleToZeroAfter": 7200}
    decision = reconcile(observe(model(**spec), load=Load(0, None, complete=True)))
    assert decision.requeue_after == 3600
    assert decision.status["scaling"] == {
        "desiredReplicas": 1, "reason": "Load", "lastActiveTime": render(NOW - 3600),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "device", "accelerated"),
    [
        ({"nvidia.com/gpu": "1"}, "cuda:0", ("True", "OnAccelerator", "On cuda:0.")),
        ({"nvidia.com/gpu": "1"}, "cpu",
         ("False", "CpuFallback", "The servers requested nvidia.com/gpu but run on the CPU.")),
        ({"nvidia.com/gpu": "1"}, "", None),
        ({"cpu": "1"}, "cpu", None),
    ],
)  # fmt: skip
def test_an_unused_accelerator_is_reported(
    observe: Observe, requests: dict[str, str], device: str, accelerated: Any
) -> None:
    reports = {"uid-m-0": ServerReport("ready", "torch", device)}
    fare = {"ready": True, "requests": requests}
    observed = settled(observe, model(), fare, reports=reports)
    decision = reconcile(observed)
    found = [one for one in decision.status["conditions"] if one["type"] == "Accelerated"]
    assert [(one["status"], one["reason"], one["message"]) for one in found] == (
        [accelerated] if accelerated else []
    )
    reasons = [event.reason for event in decision.events]
    assert ("CpuFallback" in reasons) is (device == "cpu" and "cpu" not in requests)
    assert reconcile(again(observed, decision)).events == ()


def test_only_a_server_that_is_ready_can_be_idle(observe: Observe) -> None:
    from fleet_operator.decide.scaling.autoscale import Load

    raw, load = model(scaleToZeroAfter=30), Load(0, None, complete=True)
    for fare, phase in (
        ({}, "Progressing"),
        ({"ready": True}, "ScaledToZero"),  # since 50 s
        ({"ended": {"exitCode": 3, "reason": "Error", "message": "x"}}, "ScaledToZero"),
    ):
        observed = settled(observe, raw, fare, load=load)
        assert reconcile(observed).status["phase"] == phase


def test_files_are_not_repeated_in_the_status(observe: Observe) -> None:
    decision = reconcile(observe(model(files=[{"path": "/x", "content": "y"}])))
    assert decision.status["resolved"] == {"model": "org/m", "replicas": 1}


def test_values_of_variables_are_not_copied_into_the_status(
    observe: Observe, sources: Sources
) -> None:
    """A profile is in another namespace, where its readers may not be those of the model."""
    secret = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    profile = Profile.model_validate({
        "env": {"PASSWORD": "hidden-1", "MAX_QUEUE_SIZE": "7", "TOKEN": secret},
        "envFrom": [{"secretRef": {"name": "s"}}],
        "podTemplate": {"spec": {"containers": [
            {"name": "server", "env": [{"name": "B", "value": "hidden-2"}]}
        ]}},
    })  # fmt: skip
    decision = reconcile(observe(model(), sources=replace(sources, profiles={"default": profile})))
    assert "hidden-1" in str(decision.objects)
    assert "hidden-2" in str(decision.objects)
    assert "hidden" not in str(decision.status)
    assert decision.status["resolved"] == {
        "model": "org/m", "replicas": 1, "env": {"MAX_QUEUE_SIZE": "7"},
    }  # fmt: skip


def ready_at(raw: dict[str, Any], time: str) -> dict[str, Any]:
    """The pod with another time at which it became ready."""
    conditions = [{**one, "lastTransitionTime": time} if one["type"] == "Ready" else one
                  for one in raw["status"]["conditions"]]  # fmt: skip
    return {**raw, "status": {**raw["status"], "conditions": conditions}}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_cold_start_is_reported(observe: Observe, order: tuple[int, int]) -> None:
    raw = model(replicas=2)
    bare = settled(observe, raw)
    times = ("2026-01-01T11:59:20Z", "2026-01-01T11:59:40Z")
    pods = [ready_at(pod(f"m-{i}", template=version(bare), ready=True), times[i]) for i in order]
    reports = {f"uid-m-{i}": ServerReport("ready") for i in order}
    observed = observe(raw, pods, children=bare.children, reports=reports)
    first = reconcile(observed)
    assert first.status["coldStart"]["at"] == times[1]
    # One in the status is kept while it is newer than those of the pods.
    kept = {**first.status["coldStart"], "at": "2026-01-01T11:59:50Z"}
    before = {**observed.model, "status": {**first.status, "coldStart": kept}}
    assert reconcile(replace(observed, model=before)).status["coldStart"]["at"] == kept["at"]


def test_the_first_ready_report_counts(observe: Observe) -> None:
    raw = model(replicas=3)
    ready = [{"ready": True}] * 3
    reports = {"uid-m-0": ServerReport("loading", "a"), "uid-m-1": ServerReport("ready", "b"),
               "uid-m-2": ServerReport("ready", "c")}  # fmt: skip
    observed = settled(observe, raw, *ready, reports=reports)
    assert reconcile(observed).status["engine"] == "b"
    loading = {"uid-m-0": ServerReport("loading", "a"), "uid-m-1": ServerReport("loading", "b")}
    assert reconcile(replace(observed, reports=loading)).status["engine"] == "a"


def test_a_server_that_became_ready_recently_is_not_idle(observe: Observe) -> None:
    from fleet_operator.decide.scaling.autoscale import Load

    load = Load(0, None, complete=True)
    for after, phase in ((51, "Ready"), (50, "ScaledToZero")):  # ready since 50 s
        observed = settled(observe, model(scaleToZeroAfter=after), {"ready": True}, load=load)
        assert reconcile(observed).status["phase"] == phase


def test_messages_of_conditions_are_cut(observe: Observe) -> None:
    observed = settled(observe, model(), {"waiting": ("ErrImagePull", "x" * 3000)})
    message = condition_of(reconcile(observed), "Ready")[2]
    assert len(message) == 2000


@pytest.mark.parametrize(
    ("log", "loaded"),
    [
        ({"stage": "golden", "message": "wrong"}, ("False", "GoldenCheckFailed", "wrong")),
        ({"stage": "load", "message": "bad file"}, ("False", "LoadFailed", "bad file")),
        ({"stage": "fetch", "message": "gone"},
         ("Unknown", "WeightsFailed", "No server has started to load the model yet.")),
    ],
)  # fmt: skip
def test_whether_a_model_that_failed_was_loaded(
    observe: Observe, log: dict[str, str], loaded: tuple[str, str, str]
) -> None:
    text = json.dumps({"event": LOAD_FAILED_EVENT, **log})
    observed = settled(observe, model(), {"ended": {"exitCode": 1, "message": text}})
    assert condition_of(reconcile(observed), "Loaded") == loaded


def test_the_engine_is_the_specs_or_the_one_that_was_reported(observe: Observe) -> None:
    named = observe(model(engine="openvino"))
    assert reconcile(named).status["engine"] == "openvino"
    before = {**model(), "status": {"engine": "ctranslate2"}}
    assert reconcile(observe(before)).status["engine"] == "ctranslate2"
    changed = {**model(engine="openvino"), "status": {"engine": "ctranslate2"}}
    assert reconcile(observe(changed)).status["engine"] == "openvino"
