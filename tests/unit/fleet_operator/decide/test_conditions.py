"""Ready, Available, Reconciling and Stalled, and what kstatus and Argo CD make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

from fleet_contract.crd.definition import schema
from fleet_operator.decide.observed import Observed, Ref, RemoteReport, Rival
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.rollout_strategy import HAND_OVER
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.names import ANNOTATION_PAUSED
from fleet_operator.resources.children import deployment
from fleet_operator.resources.pod import pod_template
from support.kstatus import computed
from support.operator_objects import model, pod
from support.operator_states import settled, version, with_uid

Observe = Callable[..., Observed]
HEALTH = Path(__file__).parents[4] / "docs" / "samples" / "argocd-health.lua"
OOM = {"ended": {"exitCode": 137, "reason": "OOMKilled"}}
REMOTE = {"engine": "remote", "remote": {"address": "http://far"}}


def paused(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], "annotations": {ANNOTATION_PAUSED: "true"}}}


def changed(observe: Observe, before: Observed, raw: dict[str, Any]) -> Observed:
    """`before` after an edit of the resource."""
    return replace(before, model=raw, resolution=observe(raw).resolution)


def rolling(observe: Observe, fare: dict[str, Any]) -> Observed:
    """A rollout by surge: an old server that is ready, and a new one."""
    bare = settled(observe, model())
    pods = [pod("m-0", template="old", ready=True), pod("m-1", template=version(bare), **fare)]
    return observe(model(), pods, children=bare.children)


def rolled_back(observe: Observe) -> Observed:
    """A version that failed, the old one running again."""
    wanted = observe(model())
    stable = pod_template("m", observe(model(dtype="float16")).resolution, wanted.settings)
    assert isinstance(stable, dict)
    old = stable["metadata"]["labels"]["modelfleet.dev/template"]
    rollout = {"stableHash": old, "failedHash": version(wanted), "failedMessage": "OutOfMemory: x"}
    child = with_uid(deployment(model(), stable, 1, HAND_OVER, wanted.settings))
    return observe(
        {**model(), "status": {"rollout": rollout}},
        [pod("m-0", template=old, ready=True)],
        children={Ref("Deployment", "m"): child},
        stable_template=stable,
    )


def asleep(observe: Observe) -> Observed:
    load = Load(0, 0, complete=True)
    return settled(observe, model(scaleToZeroAfter=30), {"ready": True}, load=load)


def serving(observe: Observe) -> Observed:
    return settled(observe, model(), {"ready": True})


State = Callable[[Observe], Observed]
CASES: dict[str, tuple[State, str, str, str, str]] = {
    "starting": (lambda o: settled(o, model(), {}),
                 "False Starting", "False", "Reconciling", "InProgress"),
    "serving": (serving, "True Ready", "True", "", "Current"),
    "growing": (lambda o: settled(o, model(replicas=2), {"ready": True}, {}),
                "True Serving", "True", "Reconciling", "InProgress"),
    "one of two fails": (lambda o: settled(o, model(replicas=2), {"ready": True}, OOM),
                         "True Serving", "True", "Stalled", "Failed"),
    "asleep": (asleep, "True ScaledToZero", "False", "", "Current"),
    "stopped": (lambda o: settled(o, model(stopped=True)),
                "True Stopped", "False", "", "Current"),
    "failed": (lambda o: settled(o, model(), OOM),
               "False OutOfMemory", "False", "Stalled", "Failed"),
    "rollout": (lambda o: rolling(o, {}), "False Starting", "True", "Reconciling", "InProgress"),
    "failed rollout": (lambda o: rolling(o, OOM), "False OutOfMemory", "True", "Stalled", "Failed"),
    "rolled back": (rolled_back, "False RolledBack", "True", "Stalled", "Failed"),
    "invalid change": (lambda o: changed(o, serving(o), model(engine="torch")),
                       "False EngineUnavailable", "True", "Stalled", "Failed"),
    "lost alias": (lambda o: replace(settled(o, model(aliases=["a"]), {"ready": True}),
                                     lost=(Rival("b", "a"),)),
                   "False DuplicateAlias", "True", "Stalled", "Failed"),
    "lost id": (lambda o: replace(serving(o), rival=Rival("b", "org/m")),
                "False DuplicateModel", "False", "Stalled", "Failed"),
    "remote": (lambda o: o(model(**REMOTE), remote=RemoteReport("http://far", True, "yes")),
               "True Remote", "True", "", "Current"),
    "remote away": (lambda o: o(model(**REMOTE), remote=RemoteReport("http://far", False, "no")),
                    "False RemoteUnreachable", "False", "Stalled", "Failed"),
    "paused": (lambda o: changed(o, serving(o), paused(model())),
               "True Ready", "True", "Paused", "Current"),
    "paused with a change": (lambda o: changed(o, serving(o), paused(model(dtype="float16"))),
                             "False Paused", "True", "Paused", "InProgress"),
    "paused with other replicas": (lambda o: changed(o, serving(o), paused(model(replicas=2))),
                                   "False Paused", "True", "Paused", "InProgress"),
    "paused before its first server": (lambda o: o(paused(model())),
                                       "False Paused", "False", "Paused", "InProgress"),
}  # fmt: skip
HEALTHY = {
    "Reconciling": "Progressing",
    "Stalled": "Degraded",
    "Paused": "Suspended",
    "": "Healthy",
}


@pytest.mark.parametrize("name", CASES)
def test_conditions(observe: Observe, name: str) -> None:
    state, ready, available, abnormal, expected = CASES[name]
    status = reconcile(state(observe)).status
    found = {one["type"]: one for one in status["conditions"]}
    assert f"{found['Ready']['status']} {found['Ready']['reason']}" == ready
    assert found["Available"]["status"] == available
    holding = [kind for kind in ("Reconciling", "Stalled", "Paused") if kind in found]
    assert holding == ([abnormal] if abnormal else [])
    assert all(found[kind]["status"] == "True" for kind in holding)
    assert computed({**model(), "status": status}) == expected
    assert health({**model(), "status": status})[0] == HEALTHY[abnormal]


def health(resource: dict[str, Any]) -> tuple[str, str]:
    """Health and message of a resource for Argo CD."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(resource, recursive=True)
    found = lua.execute(HEALTH.read_text())
    return found.status, found.message


def test_argo_cd_shows_the_reason_and_the_message(observe: Observe) -> None:
    status = reconcile(settled(observe, model(), OOM)).status
    assert health({**model(), "status": status}) == (
        "Degraded",
        "OutOfMemory: The server exceeded its memory limit of 1Gi.",
    )


@pytest.mark.parametrize("generation", [-1, 1])
def test_a_version_that_the_operator_has_not_seen_is_in_progress(
    observe: Observe, generation: int
) -> None:
    status = {**reconcile(serving(observe)).status, "observedGeneration": generation}
    unseen = {**model(), "status": status}
    assert (computed(unseen), health(unseen)[0]) == ("InProgress", "Progressing")


def test_a_resource_without_an_operator_is_in_progress() -> None:
    status = schema()["properties"]["status"]
    assert set(status["required"]) <= set(status["default"])
    created = {**model(), "status": status["default"]}
    assert (computed(created), health(created)[0]) == ("InProgress", "Progressing")
    assert health(model())[0] == "Progressing"


def test_abnormal_conditions_go_when_they_end(observe: Observe) -> None:
    observed = settled(observe, model(), {})
    before = reconcile(observed).status
    assert "Reconciling" in {one["type"] for one in before["conditions"]}
    ready = settled(observe, {**model(), "status": before}, {"ready": True})
    after = {one["type"] for one in reconcile(ready).status["conditions"]}
    assert not after & {"Reconciling", "Stalled", "Paused"}
