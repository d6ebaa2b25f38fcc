"""InferencePools of models: created, reported, and not needed by routers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_contract.spec_parts import InferencePool
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed, Ref, Rival
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.turn import Turn
from fleet_operator.features import Features
from fleet_operator.resources import children
from support.operator_objects import model
from support.operator_states import condition_of, settled, with_uid

Observe = Callable[..., Observed]
POOL = Ref("InferencePool", "m")
WANTED = {"endpointPickerRef": {"name": "m-epp"}}
SERVED = Features(inference_pools=True)
TEMPLATE = {"spec": {"containers": [{"name": "server"}]}}


def ready(observe: Observe, features: Features = SERVED, **spec: Any) -> Observed:
    raw = model(inferencePool=WANTED, **spec)
    return settled(observe, raw, {"ready": True}, features=features)


def pool_of(decision: Decision) -> dict[str, Any] | None:
    return next((one for one in decision.objects if one["kind"] == POOL.kind), None)


def reported(observed: Observed, *parents: dict[str, Any], generation: int = 3) -> Decision:
    """The decision for a pool on which gateways report."""
    found = observed.children[POOL]
    meta = {**found["metadata"], "generation": generation}
    pool = {**found, "metadata": meta, "status": {"parents": list(parents)}}
    return reconcile(replace(observed, children={**observed.children, POOL: pool}))


def gateway(name: str, **conditions: str) -> dict[str, Any]:
    """What a gateway reports; a condition that is False has a reason."""
    return {
        "parentRef": {"name": name, "namespace": "edge"},
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": "No:thing",
                "message": "Service m-epp is missing",
                "observedGeneration": 3,
            }
            for kind, status in conditions.items()
        ],
    }


def test_a_pool_is_made_with_the_port_of_the_server_and_kept(observe: Observe) -> None:
    observed = ready(observe)
    decision = reconcile(observed)
    made = pool_of(decision)
    assert made is not None
    assert made["spec"] == {
        "selector": {"matchLabels": {"modelfleet.dev/inferencemodel": "m"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {
            "name": "m-epp",
            "port": {"number": 9002},
            "failureMode": "FailClose",
        },
    }
    assert made["apiVersion"] == "inference.networking.k8s.io/v1"
    assert POOL in observed.children
    assert decision.delete == ()
    assert decision.status["phase"] == "Ready"
    message = "No gateway has accepted it yet."
    assert condition_of(decision, "InferencePool") == ("True", "Created", message)


def test_the_port_of_a_container(observe: Observe) -> None:
    spec = {"engine": "container", "container": {"image": "server:1", "port": 9000}}
    made = pool_of(reconcile(observe(model(inferencePool=WANTED, **spec), features=SERVED)))
    assert made is not None
    assert made["spec"]["targetPorts"] == [{"number": 9000}]


def test_a_template_without_a_named_port() -> None:
    pool = InferencePool.model_validate(WANTED)
    made = children.inference_pool(model(), pool, TEMPLATE)
    assert made is not None
    assert made["spec"]["targetPorts"] == [{"number": 8000}]
    assert children.inference_pool(model(), None, TEMPLATE) is None


def test_the_pods_are_those_of_a_model_without_a_pool(observe: Observe) -> None:
    plain = reconcile(observe(model(), features=SERVED)).objects
    pooled = reconcile(observe(model(inferencePool=WANTED), features=SERVED)).objects
    assert [one for one in pooled if one["kind"] != POOL.kind] == list(plain)


def test_a_pool_that_is_not_requested_any_more_is_deleted(observe: Observe) -> None:
    before = ready(observe)
    decision = reconcile(observe(model(), children=before.children, features=SERVED))
    assert decision.delete == (POOL,)
    assert pool_of(decision) is None
    assert "InferencePool" not in {one["type"] for one in decision.status["conditions"]}


def test_a_duplicate_loses_its_pool_with_its_servers(observe: Observe) -> None:
    decision = reconcile(replace(ready(observe), rival=Rival("older", "org/m")))
    assert POOL in decision.delete


@pytest.mark.parametrize("name", ["n", "m"])
def test_the_pool_of_somebody_else_is_not_deleted(observe: Observe, name: str) -> None:
    made = children.inference_pool(model(name, uid="other"), InferencePool.model_validate(WANTED),
                                   TEMPLATE)  # fmt: skip
    assert made is not None
    ref = Ref(POOL.kind, name)
    assert reconcile(observe(model(), children={ref: with_uid(made)})).delete == ()


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({"features": Features()}, "InferencePoolUnavailable",
         "The cluster does not serve InferencePools (inference.networking.k8s.io/v1), or the "
         "operator may not manage them."),
        ({"foreign": frozenset({POOL})}, "InferencePoolNameTaken",
         "An InferencePool 'm' exists that does not belong to this InferenceModel."),
        ({"errors": {POOL: "webhook says no"}}, "InferencePoolRefused", "webhook says no"),
    ],
)  # fmt: skip
def test_without_its_pool_the_model_is_served_by_routers(
    observe: Observe, fields: dict[str, Any], reason: str, message: str
) -> None:
    served = ready(observe)
    others = {ref: raw for ref, raw in served.children.items() if ref != POOL}
    decision = reconcile(replace(served, children=others, **fields))
    assert (decision.status["phase"], decision.status["reason"]) == ("Degraded", reason)
    assert condition_of(decision, "InferencePool") == ("False", reason, message)
    assert condition_of(decision, "Available")[0] == "True"
    assert condition_of(decision, "Ready") == ("False", reason, message)
    kinds = [one["kind"] for one in decision.objects]
    assert {"Deployment", "Service"} <= set(kinds)
    assert decision.delete == ()
    assert decision.events == (Event("Warning", reason, message),)
    assert "AliasesServed" not in {one["type"] for one in decision.status["conditions"]}


def test_an_error_of_another_object_still_counts(observe: Observe) -> None:
    errors = {POOL: "no", Ref("Service", "m"): "quota"}
    decision = reconcile(replace(ready(observe), errors=errors))
    assert decision.status["reason"] == "ApplyFailed"
    assert "quota" in condition_of(decision, "Ready")[2]


def test_a_model_that_waits_for_its_first_pool_and_cannot_have_it(observe: Observe) -> None:
    bare = observe(model(inferencePool=WANTED), features=SERVED)
    created = condition_of(reconcile(bare), "InferencePool")
    assert created[:2] == ("True", "Created")
    taken = replace(bare, foreign=frozenset({Ref("Service", "m")}))
    types = {one["type"] for one in reconcile(taken).status["conditions"]}
    assert "InferencePool" not in types


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([gateway("a", Accepted="True", ResolvedRefs="True"), gateway("b", Accepted="True")],
         ("True", "Accepted", "Accepted by Gateway edge/a, Gateway edge/b.")),
        ([gateway("a", Accepted="True"), gateway("b", Accepted="False")],
         ("False", "NotAccepted", "Gateway edge/b: No:thing: Service m-epp is missing")),
        ([gateway("a", Accepted="True", ResolvedRefs="False")],
         ("False", "RefsNotResolved", "Gateway edge/a: No:thing: Service m-epp is missing")),
        ([gateway("a", Accepted="Unknown"), gateway("b", Other="False")],
         ("True", "Created", "No gateway has accepted it yet.")),
        ([{"parentRef": {"kind": "Mesh", "name": "east"}}],
         ("True", "Created", "No gateway has accepted it yet.")),
    ],
)  # fmt: skip
def test_what_gateways_report(
    observe: Observe, parents: list[dict[str, Any]], expected: tuple[str, str, str]
) -> None:
    decision = reported(ready(observe), *parents)
    assert condition_of(decision, "InferencePool") == expected
    assert decision.status["phase"] == "Ready"


def test_reports_on_an_earlier_generation_do_not_count(observe: Observe) -> None:
    parents = [gateway("a", Accepted="False")]
    decision = reported(ready(observe), *parents, generation=4)
    assert condition_of(decision, "InferencePool")[:2] == ("True", "Created")


def test_while_a_version_waits_the_port_is_that_of_the_present_one(observe: Observe) -> None:
    container = {"engine": "container", "container": {"image": "server:1", "port": 9000}}
    present = settled(observe, model(inferencePool=WANTED, **container), {"ready": True},
                      features=SERVED)  # fmt: skip
    container["container"] = {"image": "server:2", "port": 9001}
    changed = model(inferencePool=WANTED, **container)
    waiting = replace(
        present,
        model=changed,
        resolution=observe(changed).resolution,
        turn=Turn(others=("ns/first",)),
    )
    decision = reconcile(waiting)
    assert decision.status["reason"] == "WaitingForTurn"
    made = pool_of(decision)
    assert made is not None
    assert made["spec"]["targetPorts"] == [{"number": 9000}]
    begun = pool_of(reconcile(replace(waiting, turn=Turn())))
    assert begun is not None
    assert begun["spec"]["targetPorts"] == [{"number": 9001}]
