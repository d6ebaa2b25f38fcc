"""New versions: volumes, turns, quotas and what is reported of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.turn import Turn
from fleet_operator.resources.profiles import ModelCache, Profile
from fleet_operator.resources.resolve import Sources
from support.operator_objects import model, pod
from support.operator_states import condition_of, settled, version

Observe = Callable[..., Observed]

CACHED = {"default": Profile(model_cache=ModelCache(size="1Gi"))}


def test_more_servers_than_a_volume_for_one_node_allows(observe: Observe, sources: Sources) -> None:
    with_cache = replace(sources, profiles=CACHED)
    first = reconcile(observe(model(replicas=3), sources=with_cache))
    (made,) = (child for child in first.objects if child["kind"] == "Deployment")
    assert made["spec"]["replicas"] == 1
    assert [child["kind"] for child in first.objects] == [
        "PersistentVolumeClaim", "Deployment", "Service",
    ]  # fmt: skip
    ready = settled(observe, model(replicas=3), {"ready": True}, sources=with_cache)
    decision = reconcile(ready)
    assert (decision.status["phase"], decision.status["ready"]) == ("Degraded", "1/1")
    status, reason, message = condition_of(decision, "ReplicasLimited")
    assert (status, reason) == ("True", "SingleNodeVolume")
    assert "3 servers are wanted, but the volume of claim m-cache is ReadWriteOnce" in message
    shared = {"default": Profile(model_cache=ModelCache(size="1Gi", access_mode="ReadWriteMany"))}
    found = reconcile(observe(model(replicas=3), sources=replace(sources, profiles=shared)))
    assert found.objects[1]["spec"]["replicas"] == 3


def test_servers_that_mount_such_a_volume_together_are_kept(
    observe: Observe, sources: Sources
) -> None:
    """They are on one node. The claim may be any that the pod mounts."""
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    raw = model(replicas=3, podTemplate={"spec": {"volumes": [volume]}})
    modes = {"c": frozenset({"ReadWriteOnce"})}
    observed = settled(observe, raw, {"ready": True}, {"ready": True}, access_modes=modes)
    decision = reconcile(observed)
    (made,) = (child for child in decision.objects if child["kind"] == "Deployment")
    assert made["spec"]["replicas"] == 2
    assert condition_of(decision, "ReplicasLimited")[0] == "True"


def test_a_new_version_waits_while_the_present_one_serves(observe: Observe) -> None:
    before = settled(observe, model(), {"ready": True})
    changed = replace(
        observe(model(limits={"maxItems": 7}), turn=Turn(others=("ns/a",))),
        children=before.children, pods=before.pods,
    )  # fmt: skip
    decision = reconcile(changed)
    status = decision.status
    assert (status["phase"], status["reason"]) == ("Progressing", "WaitingForTurn")
    assert status["ready"] == "1/1"
    assert condition_of(decision, "Ready")[:2] == ("True", "Serving")
    assert "after those of ns/a" in condition_of(decision, "Progressing")[2]
    assert (decision.waits, decision.begins) == (False, None)
    # Nothing is written but the status.
    deployment = before.children[Ref("Deployment", "m")]
    assert decision.objects[0] == deployment
    # It is scaled all the same, with the present template.
    more = replace(
        observe(model(limits={"maxItems": 7}, replicas=2), turn=Turn(others=("ns/a",))),
        children=before.children, pods=before.pods,
    )  # fmt: skip
    scaled = reconcile(more).objects[0]
    assert scaled["spec"]["replicas"] == 2
    assert scaled["spec"]["template"] == deployment["spec"]["template"]
    begun = reconcile(replace(changed, turn=Turn()))
    assert begun.begins is not None
    assert (begun.waits, begun.begins.accelerated) == (None, False)
    assert begun.objects[0]["spec"]["template"] != deployment["spec"]["template"]


@pytest.mark.parametrize(
    ("replicas", "removes"), [(3, False), (2, True), (1, True), (0, False), (4, False)]
)
def test_whether_some_servers_are_removed(observe: Observe, replicas: int, removes: bool) -> None:
    before = settled(observe, model(replicas=3), *[{"ready": True}] * 3)
    changed = replace(observe(model(replicas=replicas)), children=before.children, pods=before.pods)
    assert reconcile(changed).removes is removes


def test_a_quota_that_is_used_up_is_no_failure(observe: Observe) -> None:
    message = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    observed = settled(observe, model())
    made = observed.children[Ref("Deployment", "m")]
    stuck = {**made, "status": {"conditions": [condition]}}
    decision = reconcile(
        replace(observed, children={**observed.children, Ref("Deployment", "m"): stuck})
    )
    assert (decision.status["phase"], decision.status["reason"]) == ("Pending", "QuotaExceeded")
    assert decision.events == (Event("Warning", "QuotaExceeded", message),)


def test_a_surge_does_not_show_more_ready_servers_than_wanted(observe: Observe) -> None:
    bare = settled(observe, model())
    pods = [pod("m-0", template="old", ready=True), pod("m-1", template=version(bare), ready=True)]
    decision = reconcile(observe(model(), pods, children=bare.children))
    status = decision.status
    assert (status["ready"], status["replicas"], status["readyReplicas"]) == ("1/1", 2, 2)
    assert (status["phase"], status["reason"]) == ("Progressing", "RollingOut")
    assert condition_of(decision, "Available")[2] == "1 of 1 servers are ready."


def test_the_strategy_of_a_rollout_is_a_condition(observe: Observe) -> None:
    old = settled(observe, model(), {"ready": True})
    changed = model(env={"LOG_LEVEL": "debug"})
    observed = replace(old, model=changed, resolution=observe(changed).resolution)
    unknown = "The operator may not read nodes."
    decision = reconcile(observed)
    assert condition_of(decision, "RolloutStrategy") == (
        "True",
        "CapacityUnknown",
        f"Surge: {unknown}",
    )
    assert decision.events == (Event("Normal", "RollingOut", f"CapacityUnknown: {unknown}"),)


def test_a_refused_template_changes_nothing_and_keeps_the_servers(observe: Observe) -> None:
    """As after an upgrade to an operator that restricts templates."""
    good = settled(observe, model(), {"ready": True})
    bad = model(podTemplate={"spec": {"serviceAccountName": "operator"}})
    decision = reconcile(observe(bad, [pod("m-0", ready=True)], children=good.children))
    assert (decision.objects, decision.delete) == ((), ())
    assert (decision.status["phase"], decision.status["reason"]) == ("Degraded", "InvalidSpec")
    assert "serviceAccountName is not allowed" in condition_of(decision, "Progressing")[2]
