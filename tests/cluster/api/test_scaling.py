"""Who decides how many servers there are: people, HPA, load, idleness, a router that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from harness import pod_states
from harness.answering import Answering
from harness.api import Json
from harness.models import API, APPS, KIND, model, phase, reason, said, wait
from harness.netns import Namespace
from harness.operator_process import OperatorProcess
from harness.played_kubelet import PlayedKubelet
from harness.tenant import Tenant
from support.waiting import until

AddNode = Callable[..., Json]
ROUTER = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/component": "router"}


class Routers:
    """Routers of the test's namespace, played: what they say of the load is what the test says."""

    def __init__(self, tenant: Tenant, kubelet: PlayedKubelet) -> None:
        self._tenant = tenant
        self._kubelet = kubelet
        self._answering: dict[str, Answering] = {}

    def add(self, name: str) -> None:
        container = {"name": "router", "image": "example.test/router:1"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": ROUTER}}
        made = self._tenant.create({**pod, "spec": {"containers": [container]}})
        address = self._kubelet.address(made)
        answering = Answering(address, 8000, {})
        answering.__enter__()
        self._answering[name] = answering
        self.say(name)

    def say(self, name: str, model_id: str = "", in_flight: int = 0, requests: int = 0) -> None:
        labels = f'code="200",model="{model_id}",path="/p"'
        lines = [
            f'modelfleet_router_in_flight{{model="{model_id}"}} {in_flight}.0',
            f"modelfleet_router_requests_total{{{labels}}} {requests}.0",
        ]
        self._answering[name].answers["/metrics"] = (200, "\n".join(lines) + "\n")

    def fail(self, name: str) -> None:
        self._answering[name].answers["/metrics"] = (500, "")

    def looked(self, name: str) -> int:
        """How often the operator has looked."""
        return len(self._answering[name].asked)

    def close(self) -> None:
        for answering in self._answering.values():
            answering.__exit__()


@pytest.fixture
def routers(
    tenant: Tenant, kubelet: PlayedKubelet, add_node: AddNode, pod_network: Namespace
) -> Iterator[Routers]:
    """Two idle routers."""
    add_node("scaling")
    made = Routers(tenant, kubelet)
    made.add("router-a")
    made.add("router-b")
    tenant.wait_list("v1", "Pod", lambda pods: all(p["status"]["phase"] == "Running" for p in pods))
    yield made
    made.close()


def servers(number: int) -> Callable[[Json | None], bool]:
    return lambda m: m is not None and m.get("status", {}).get("ready") == f"{number}/{number}"


def gone(word: str) -> Callable[[Json | None], bool]:
    """The phase is `word`, and the last pod has gone."""
    return lambda m: phase(word)(m) and m is not None and m["status"]["replicas"] == 0


def test_kubectl_scale_up_down_stop_and_back(
    tenant: Tenant, kubelet: PlayedKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("by-hand")
    tenant.create(model("hand"))
    wait(tenant, "hand", phase("Ready"))
    for number in (3, 1):
        tenant.kubectl("scale", "im/hand", f"--replicas={number}")
        wait(tenant, "hand", servers(number))
        budget = tenant.api.items("policy/v1", "PodDisruptionBudget", tenant.namespace)
        assert len(budget) == int(number > 1)
    tenant.kubectl("scale", "im/hand", "--replicas=0")
    found = wait(tenant, "hand", gone("Stopped"))
    assert said(found, "Ready")["reason"] == "Stopped"
    tenant.api.patch(found, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    tenant.kubectl("scale", "im/hand", "--replicas=1")
    wait(tenant, "hand", phase("Ready"))


def test_the_real_hpa_reads_and_writes_the_scale_subresource(
    tenant: Tenant, kubelet: PlayedKubelet, add_node: AddNode, operator: OperatorProcess
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
        return said(hpa, "AbleToScale").get("reason") in ("SucceededGetScale", "SucceededRescale")

    tenant.wait("autoscaling/v2", "HorizontalPodAutoscaler", "scaled", able, timeout=60)
    found = wait(tenant, "scaled", servers(2), timeout=60)
    assert found["spec"]["replicas"] == 2


def test_load_of_all_routers_scales_up_at_once_and_down_after_a_while(
    tenant: Tenant, routers: Routers, operator: OperatorProcess
) -> None:
    scaling = {"targetInFlight": 4, "minReplicas": 1, "maxReplicas": 3, "scaleDownDelay": 1}
    tenant.create(model("busy", **scaling))
    wait(tenant, "busy", servers(1))
    routers.say("router-a", "test/busy", in_flight=4, requests=1)
    routers.say("router-b", "test/busy", in_flight=3)
    found = wait(tenant, "busy", servers(2))
    assert found["status"]["scaling"]["desiredReplicas"] == 2
    routers.say("router-a", "test/busy", in_flight=400, requests=1)
    wait(tenant, "busy", servers(3))

    routers.fail("router-b")
    routers.say("router-a", "test/busy", in_flight=1, requests=500)
    looks = routers.looked("router-a")
    until(lambda: routers.looked("router-a") > looks + 10)
    deployment = tenant.get(APPS, "Deployment", "busy")
    assert deployment["spec"]["replicas"] == 3, "a router that does not answer may be busy"
    routers.say("router-b", "test/busy")
    wait(tenant, "busy", servers(1))
    assert tenant.get(API, KIND, "busy")["spec"]["replicas"] == 1


def test_to_zero_when_idle_and_back_when_a_router_asks(
    tenant: Tenant, routers: Routers, operator: OperatorProcess
) -> None:
    made = tenant.create(model("sleepy", scaleToZeroAfter=2))
    wait(tenant, "sleepy", phase("Ready"))
    found = wait(tenant, "sleepy", gone("ScaledToZero"))
    assert said(found, "Ready")["reason"] == "ScaledToZero"
    assert found["status"]["replicas"] == 0
    tenant.wait(APPS, "Deployment", "sleepy", lambda d: d and d["spec"]["replicas"] == 0)

    tenant.api.patch(made, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    wait(tenant, "sleepy", phase("Ready"))
    routers.say("router-a", "test/sleepy", in_flight=1)
    looks = routers.looked("router-a")
    until(lambda: routers.looked("router-a") > looks + 20)
    assert tenant.get(API, KIND, "sleepy")["status"]["phase"] == "Ready"
    routers.say("router-a", "test/sleepy", in_flight=0, requests=1)
    wait(tenant, "sleepy", phase("ScaledToZero"))


def test_the_state_of_scaling_outlives_the_operator(
    tenant: Tenant, routers: Routers, operator: OperatorProcess
) -> None:
    scaling = {"targetInFlight": 1, "maxReplicas": 3, "scaleDownDelay": 3600}
    tenant.create(model("kept", **scaling))
    tenant.create(model("asleep", scaleToZeroAfter=1))
    wait(tenant, "kept", servers(1))
    routers.say("router-a", "test/kept", in_flight=3)
    wait(tenant, "kept", servers(3))
    routers.say("router-a")
    wait(tenant, "asleep", phase("ScaledToZero"))
    wait(tenant, "kept", lambda m: m and "lowSince" in m["status"]["scaling"])
    operator.kill()
    operator.start()
    tenant.create(model("sentinel"))
    wait(tenant, "sentinel", phase("Ready"))
    looks = routers.looked("router-a")
    until(lambda: routers.looked("router-a") > looks + 5)
    assert tenant.get(API, KIND, "kept")["status"]["ready"] == "3/3"
    assert tenant.get(API, KIND, "asleep")["status"]["phase"] == "ScaledToZero"


def test_waking_while_the_first_pod_cannot_start_stays_pending(
    tenant: Tenant, routers: Routers, kubelet: PlayedKubelet, operator: OperatorProcess
) -> None:
    made = tenant.create(model("heavy", scaleToZeroAfter=1))
    wait(tenant, "heavy", phase("ScaledToZero"))
    kubelet.behave(
        lambda pod, ip: (
            pod_states.running(pod, ip)
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "router"
            else pod_states.waiting(pod, "ErrImagePull", "gone", ip)
        )
    )
    tenant.api.patch(made, {"metadata": {"annotations": {"modelfleet.dev/wake-at": now()}}})
    routers.say("router-a", "test/heavy", in_flight=1)
    wait(tenant, "heavy", reason("ImagePullFailed"))


def now() -> str:
    return datetime.now(UTC).isoformat()
