"""Scaling by users, HPA, load, idleness and requests that wake a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from harness import pod_states
from harness.api import Json
from harness.fake_kubelet import FakeKubelet
from harness.http_stub import HttpStub
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.netns import Namespace
from harness.nodes import on_node
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

AddNode = Callable[..., Json]
ROUTER = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/component": "router"}


class Routers:
    """Simulated routers of the test's namespace whose load is set by the test."""

    def __init__(self, tenant: Tenant, kubelet: FakeKubelet) -> None:
        self._tenant = tenant
        self._kubelet = kubelet
        self._stubs: dict[str, HttpStub] = {}

    def add(self, name: str) -> None:
        container = {"name": "router", "image": "example.test/router:1"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": ROUTER}}
        made = self._tenant.create({**pod, "spec": {"containers": [container]}})
        address = self._kubelet.address(made)
        stub = HttpStub(address, 8000, {})
        stub.__enter__()
        self._stubs[name] = stub
        self.set_load(name)

    def set_load(self, name: str, model_id: str = "", in_flight: int = 0) -> None:
        """Report `in_flight` requests of a model."""
        loads = {}
        if in_flight:
            loads[model_id] = {"in_flight": in_flight, "idle_seconds": 0.0}
        self._stubs[name].responses["/load"] = (200, {"models": loads})

    def fail(self, name: str) -> None:
        self._stubs[name].responses["/load"] = (500, "")

    def scrapes(self, name: str) -> int:
        """How often the operator has requested the load of the router."""
        return len(self._stubs[name].requested_paths)

    def close(self) -> None:
        for stub in self._stubs.values():
            stub.__exit__()


@pytest.fixture
def routers(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, pod_network: Namespace
) -> Iterator[Routers]:
    """Two idle routers."""
    add_node("scaling")
    made = Routers(tenant, kubelet)
    made.add("router-a")
    made.add("router-b")
    tenant.wait_list("v1", "Pod", lambda pods: all(p["status"]["phase"] == "Running" for p in pods))
    yield made
    made.close()


@pytest.fixture
def router_operator(
    tenant: Tenant, another_operator: Callable[..., OperatorProcess]
) -> OperatorProcess:
    """An operator whose routers are those of the test's namespace."""
    return another_operator(ROUTER_NAMESPACE=tenant.namespace)


def servers(number: int) -> Callable[[Json | None], bool]:
    return lambda m: m is not None and m.get("status", {}).get("ready") == f"{number}/{number}"


def scaled_down(expected: str) -> Callable[[Json | None], bool]:
    """Predicate: the phase is `phase`, and there are no pods."""
    return lambda m: phase(expected)(m) and m is not None and m["status"]["replicas"] == 0


def test_kubectl_scale(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("by-hand")
    tenant.create(model("hand"))
    wait(tenant, "hand", phase("Ready"))
    for number, command in (
        (3, lambda: tenant.kubectl("scale", "im/hand", "--replicas=3")),
        (1, lambda: tenant.kubectl.modelfleet("scale", "hand", "1")),
    ):
        command()
        wait(tenant, "hand", servers(number))
        tenant.wait_list(
            "policy/v1", "PodDisruptionBudget",
            lambda budgets, number=number: len(budgets) == int(number > 1),
        )  # fmt: skip
    tenant.kubectl("scale", "im/hand", "--replicas=0")
    found = wait(tenant, "hand", scaled_down("ScaledToZero"))
    assert condition(found, "Ready")["reason"] == "ScaledToZero"
    [row] = json.loads(tenant.kubectl.modelfleet("status", "-o", "json"))
    assert (row["model"], row["state"], row["servers"]) == ("test/hand", "ScaledToZero", "0/0")
    tenant.api.patch(found, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    tenant.kubectl.modelfleet("load", "test/hand")
    wait(tenant, "hand", phase("Ready"))


def test_a_stopped_model_stays_stopped_whoever_scales_it(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("halted")
    tenant.create(model("halted"))
    wait(tenant, "halted", phase("Ready"))
    tenant.kubectl.modelfleet("unload", "halted")
    found = wait(tenant, "halted", scaled_down("Stopped"))
    assert condition(found, "Ready")["reason"] == "Stopped"
    tenant.kubectl("scale", "im/halted", "--replicas=2")
    wait(tenant, "halted", lambda m: m["status"]["observedGeneration"] == 3)
    assert tenant.get(APPS, "Deployment", "halted")["spec"]["replicas"] == 0
    tenant.kubectl.modelfleet("load", "halted")
    wait(tenant, "halted", servers(2))


def test_a_writer_of_the_deployments_replicas_is_named(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("fought-over")
    tenant.create(model("fought"))
    wait(tenant, "fought", phase("Ready"))
    for _ in range(3):
        tenant.kubectl("scale", "deployment/fought", "--replicas=2")
        tenant.wait(APPS, "Deployment", "fought", lambda d: d["spec"]["replicas"] == 1)
    found = wait(tenant, "fought", lambda m: condition(m, "ReplicasOverwritten") != {})
    named = condition(found, "ReplicasOverwritten")
    assert (named["status"], named["reason"]) == ("True", "DeploymentScaled")
    assert "kubectl" in named["message"]


def test_the_hpa_uses_the_scale_subresource(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("by-hpa")
    tenant.create(model("scaled", resources={"requests": {"cpu": "1"}}))
    wait(tenant, "scaled", phase("Ready"))
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {
        "type": "Utilization", "averageUtilization": 50}}}  # fmt: skip
    target = {"apiVersion": API, "kind": KIND, "name": "scaled"}
    tenant.create({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4, "metrics": [metric]},
    })  # fmt: skip

    def able(hpa: Json | None) -> bool:
        return condition(hpa, "AbleToScale").get("reason") in (
            "SucceededGetScale",
            "SucceededRescale",
        )

    tenant.wait("autoscaling/v2", "HorizontalPodAutoscaler", "scaled", able)
    found = wait(tenant, "scaled", servers(2))
    assert found["spec"]["replicas"] == 2


def test_load_of_all_routers_scales_up_and_down(
    tenant: Tenant, routers: Routers, router_operator: OperatorProcess
) -> None:
    scaling = {"targetInFlight": 4, "minReplicas": 1, "maxReplicas": 3, "scaleDownDelay": 1}
    tenant.create(model("busy", **scaling))
    wait(tenant, "busy", servers(1))
    routers.set_load("router-a", "test/busy", in_flight=4)
    routers.set_load("router-b", "test/busy", in_flight=3)
    found = wait(tenant, "busy", servers(2))
    assert found["status"]["scaling"]["desiredReplicas"] == 2
    routers.set_load("router-a", "test/busy", in_flight=400)
    wait(tenant, "busy", servers(3))

    routers.fail("router-b")
    routers.set_load("router-a", "test/busy", in_flight=1)
    before = routers.scrapes("router-a")
    until(lambda: routers.scrapes("router-a") > before + 10)
    deployment = tenant.get(APPS, "Deployment", "busy")
    assert deployment["spec"]["replicas"] == 3, "a silent router may be busy"
    routers.set_load("router-b", "test/busy")
    wait(tenant, "busy", servers(1))
    assert tenant.get(API, KIND, "busy")["spec"]["replicas"] == 1


def test_idle_models_scale_to_zero_and_wake(
    tenant: Tenant, routers: Routers, router_operator: OperatorProcess
) -> None:
    made = tenant.create(model("sleepy", scaleToZeroAfter=2))
    wait(tenant, "sleepy", phase("Ready"))
    found = wait(tenant, "sleepy", scaled_down("ScaledToZero"))
    assert condition(found, "Ready")["reason"] == "ScaledToZero"
    assert found["status"]["replicas"] == 0
    tenant.wait(APPS, "Deployment", "sleepy", lambda d: d and d["spec"]["replicas"] == 0)

    tenant.api.patch(made, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    tenant.wait(APPS, "Deployment", "sleepy", lambda d: d and d["spec"]["replicas"] == 1)
    routers.set_load("router-a", "test/sleepy", in_flight=1)
    wait(tenant, "sleepy", phase("Ready"))
    before = routers.scrapes("router-a")
    until(lambda: routers.scrapes("router-a") > before + 20)
    assert tenant.get(API, KIND, "sleepy")["status"]["phase"] == "Ready"
    routers.set_load("router-a")
    wait(tenant, "sleepy", phase("ScaledToZero"))

    always = {"scaleToZeroAfter": 600, "wakeAt": [{"schedule": "* * * * *"}]}
    tenant.create(model("early", replicas=0, **always))
    wait(tenant, "early", phase("Ready"))
    tenant.create(model("never", **{**always, "wakeAt": [{"schedule": "61 * * * *"}]}))
    found = wait(tenant, "never", reason("InvalidSpec"))
    assert "wakeAt" in condition(found, "Ready")["message"]


def test_the_idle_one_of_two_models_that_share_a_node_makes_room(
    tenant: Tenant, routers: Routers, add_node: AddNode, router_operator: OperatorProcess
) -> None:
    add_node("shared", cpu="4")
    place = {**on_node("shared"), "resources": {"requests": {"cpu": "3"}}, "yieldsAfter": 1}
    tenant.create(model("first", **place))
    wait(tenant, "first", phase("Ready"))
    tenant.create(model("second", replicas=0, **place))
    wait(tenant, "second", phase("ScaledToZero"))
    routers.set_load("router-a", "test/second", in_flight=1)
    found = wait(tenant, "first", reason("Yielded"))
    assert found["status"]["scaling"]["yieldedTo"] == f"{tenant.namespace}/second"
    wait(tenant, "second", phase("Ready"))
    assert tenant.get(API, KIND, "first")["status"]["reason"] == "Yielded"

    # Back again, but not while the second one has requests.
    routers.set_load("router-b", "test/first", in_flight=1)
    found = wait(tenant, "first", lambda m: reason("WaitingForRoom")(m) and roomy(m))
    assert condition(found, "Scheduled")["reason"] == "Unschedulable"
    assert tenant.get(API, KIND, "second")["status"]["phase"] == "Ready"
    routers.set_load("router-a")
    wait(tenant, "second", reason("Yielded"))
    wait(tenant, "first", phase("Ready"))


def roomy(found: Json | None) -> bool:
    """Whether the status has the time at which there may be room."""
    return "roomAt" in (found or {})["status"]["scaling"]


def test_scaling_state_survives_operator_restarts(
    tenant: Tenant, routers: Routers, router_operator: OperatorProcess
) -> None:
    scaling = {"targetInFlight": 1, "maxReplicas": 3, "scaleDownDelay": 3600}
    tenant.create(model("kept", **scaling))
    tenant.create(model("asleep", scaleToZeroAfter=1))
    wait(tenant, "kept", servers(1))
    routers.set_load("router-a", "test/kept", in_flight=3)
    wait(tenant, "kept", servers(3))
    routers.set_load("router-a")
    wait(tenant, "asleep", phase("ScaledToZero"))
    wait(tenant, "kept", lambda m: m and "lowSince" in m["status"]["scaling"])
    router_operator.kill()
    router_operator.start(ROUTER_NAMESPACE=tenant.namespace)
    tenant.create(model("sentinel"))
    wait(tenant, "sentinel", phase("Ready"))
    before = routers.scrapes("router-a")
    until(lambda: routers.scrapes("router-a") > before + 5)
    assert tenant.get(API, KIND, "kept")["status"]["ready"] == "3/3"
    assert tenant.get(API, KIND, "asleep")["status"]["phase"] == "ScaledToZero"


def test_waking_with_a_failing_pod(
    tenant: Tenant, routers: Routers, kubelet: FakeKubelet, router_operator: OperatorProcess
) -> None:
    made = tenant.create(model("heavy", scaleToZeroAfter=1))
    wait(tenant, "heavy", phase("ScaledToZero"))
    kubelet.set_behaviour(
        lambda pod, ip: (
            pod_states.running(pod, ip)
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "router"
            else pod_states.waiting(pod, "ErrImagePull", "gone", ip)
        )
    )
    tenant.api.patch(made, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    routers.set_load("router-a", "test/heavy", in_flight=1)
    wait(tenant, "heavy", reason("ImagePullFailed"))


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_the_idle_servers_are_removed_first(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    """By their deletion cost. Without it, the newest pod would be removed, or any of them."""
    add_node("shrinking")
    made = tenant.create(model("shrinking", replicas=1))
    wait(tenant, "shrinking", phase("Ready"))
    (idle,) = pods_of(tenant, "shrinking")
    tenant.api.patch(made, {"spec": {"replicas": 2}})
    wait(tenant, "shrinking", lambda m: phase("Ready")(m) and servers(2)(m))
    (busy,) = (pod for pod in pods_of(tenant, "shrinking")
               if pod["metadata"]["uid"] != idle["metadata"]["uid"])  # fmt: skip
    loads = ((idle, 0), (busy, 3))
    with ExitStack() as stack:
        for pod, load in loads:
            metrics = f'modelfleet_in_flight{{model="test/shrinking"}} {load}.0\n'
            stub = HttpStub(kubelet.address(pod), 8000, {"/metrics": (200, metrics)})
            stack.enter_context(stub)
        tenant.api.patch(made, {"spec": {"replicas": 1}})
        wait(tenant, "shrinking", lambda m: phase("Ready")(m) and servers(1)(m))
        until(lambda: len(pods_of(tenant, "shrinking")) == 1)
    (left,) = pods_of(tenant, "shrinking")
    assert left["metadata"]["uid"] == busy["metadata"]["uid"]
    cost = left["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"]
    assert cost == "3"


def pods_of(tenant: Tenant, name: str) -> list[Json]:
    """The pods of a model that are not being deleted."""
    pods = tenant.items("v1", "Pod", labelSelector=f"modelfleet.dev/inferencemodel={name}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
