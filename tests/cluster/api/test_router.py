"""The router's routes from a real API server, with the rights of its ServiceAccount only.

Pods are simulated; the stub server of the router's tests serves at their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api import Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.models import API, KIND, model, phase, wait
from harness.netns import Namespace
from harness.operator_process import OperatorProcess
from harness.router_process import RouterProcess, StubServers
from harness.run import Run
from harness.tenant import Tenant

CHAT = "test/chat"
SECOND_FAMILY = {"name": "chat-ipv6", "labels": {"modelfleet.dev/inferencemodel": "chat"}}
"""Metadata of the second EndpointSlice of a dual-stack Service."""


@pytest.fixture(scope="module", autouse=True)
def stubs(run: Run, pod_network: Namespace) -> Iterator[StubServers]:
    pod_network.enter()
    servers = StubServers(run, CHAT)
    yield servers
    servers.stop()


def endpoint_slice(name: str, *addresses: str) -> Json:
    endpoints = [{"addresses": [each], "conditions": {"ready": True}} for each in addresses]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"modelfleet.dev/inferencemodel": name}},
        "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


def ready(router: RouterProcess, name: str) -> Callable[[], bool]:
    return lambda: router.states().get(name) == "ready"


def only(router: RouterProcess, *endpoints: str) -> Callable[[], bool]:
    """Whether the next responses come from these servers and from no other one."""
    return lambda: (
        {router.chat(CHAT).headers.get("x-modelfleet-endpoint") for _ in range(20)}
        == set(endpoints)
    )


def test_a_model_applied_with_kubectl_is_served(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
    make_router: Callable[..., RouterProcess],
) -> None:
    add_node("router-a")
    router = make_router()
    assert router.states() == {}
    tenant.kubectl.apply(model("chat", aliases=["gpt"]))
    router.wait_until(ready(router, CHAT))
    wait(tenant, "chat", phase("Ready"))
    answer = router.chat("gpt")
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == CHAT
    assert answer.headers["x-modelfleet-endpoint"].startswith("chat-")
    with router.client() as client:
        assert [entry.id for entry in client.models.list()] == [CHAT]
    tenant.kubectl("delete", "inferencemodel/chat")
    router.wait_until(lambda: router.states() == {})
    assert router.chat(CHAT).status_code == 404


def test_requests_wake_a_model_at_zero(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
    make_router: Callable[..., RouterProcess],
) -> None:
    add_node("router-b")
    routers = [make_router(HOLD_SECONDS="60") for _ in range(2)]
    at_zero = {"desiredReplicas": 0, "lastActiveTime": "2020-01-01T00:00:00Z"}
    operator.stop()  # the restarted operator finds this status
    created = tenant.create(model("chat", minReplicas=0, scaleToZeroAfter=1))
    tenant.api.patch(created, {"status": {"phase": "Pending", "scaling": at_zero}}, sub="status")
    operator.start()
    wait(tenant, "chat", phase("ScaledToZero"))
    for router in routers:
        router.wait_until(lambda router=router: router.states().get(CHAT) == "scaled_to_zero")
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda n: routers[n % 2].chat(CHAT), range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert "true" in {answer.headers["x-modelfleet-cold"] for answer in answers}
    found = tenant.get(API, KIND, "chat")
    assert found["metadata"]["annotations"]["modelfleet.dev/wake-at"]


def test_models_are_known_after_a_restart(
    tenant: Tenant, make_router: Callable[..., RouterProcess]
) -> None:
    tenant.create(model("chat"))
    router = make_router(HOLD_SECONDS="0.3")
    for _ in range(3):
        answer = router.chat(CHAT)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        router.kill()
        router.start(ready=False)
        early = router.chat(CHAT)
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "model_not_ready"
        router.wait_until(lambda: router.is_ok("/readyz"))


def test_endpoint_slices_add_and_remove_servers(
    tenant: Tenant, make_router: Callable[..., RouterProcess], pod_network: Namespace
) -> None:
    router = make_router(HOLD_SECONDS="30")
    tenant.create(model("chat"))
    tenant.create(endpoint_slice("chat", "10.90.200.1", "10.90.200.2"))
    router.wait_until(ready(router, CHAT))
    router.wait_until(only(router, "10.90.200.1", "10.90.200.2"))
    tenant.apply(endpoint_slice("chat", "10.90.200.2"))
    router.wait_until(only(router, "10.90.200.2"))
    if pod_network.has_ipv6:
        tenant.create(endpoint_slice("chat", "fd00:90::3") | {"metadata": SECOND_FAMILY})
        tenant.kubectl("delete", "endpointslice/chat")
        router.wait_until(only(router, "fd00:90::3"))


def test_a_ready_server_is_used_before_its_slice_is_ready(
    tenant: Tenant, make_router: Callable[..., RouterProcess]
) -> None:
    router = make_router(HOLD_SECONDS="60")
    tenant.create(model("chat"))
    slow = endpoint_slice("chat", "10.90.204.1")
    slow["endpoints"][0]["conditions"]["ready"] = False
    tenant.create(slow)
    router.wait_until(lambda: CHAT in router.states())
    assert router.states()[CHAT] != "ready"
    answer = router.chat(CHAT)
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-endpoint"] == "10.90.204.1"


def test_routes_survive_an_api_server_restart(
    tenant: Tenant, control_plane: ControlPlane, make_router: Callable[..., RouterProcess]
) -> None:
    router = make_router(HOLD_SECONDS="30")
    tenant.create(model("chat"))
    tenant.create(endpoint_slice("chat", "10.90.201.1"))
    router.wait_until(ready(router, CHAT))
    control_plane.stop_apiserver(kill=True)
    assert router.chat(CHAT).status_code == 200
    assert router.is_ok("/readyz")
    assert "modelfleet_router_watch_age_seconds" in router.get("/metrics").text
    control_plane.start_apiserver()
    tenant.create(model("other", aliases=["late"]))
    router.wait_until(lambda: "test/other" in router.states())
    assert router.chat(CHAT).status_code == 200


def test_the_older_of_two_models_has_the_id(
    tenant: Tenant, make_router: Callable[..., RouterProcess]
) -> None:
    router = make_router(HOLD_SECONDS="600")
    tenant.create(model("a-old", model=CHAT))
    tenant.create(endpoint_slice("a-old", "10.90.202.1"))
    router.wait_until(ready(router, CHAT))
    tenant.create(model("b-young", model=CHAT, aliases=["other-name"]))
    tenant.create(endpoint_slice("b-young", "10.90.202.2"))
    router.wait_until(lambda: router.chat("other-name").status_code == 503)
    error = router.chat("other-name").json()["error"]
    assert error["message"] == f"'{CHAT}' conflicts with another model (DuplicateModel)."
    assert {router.chat(CHAT).headers["x-modelfleet-endpoint"] for _ in range(4)} == {"10.90.202.1"}
    tenant.kubectl("delete", "inferencemodel/a-old")
    router.wait_until(lambda: router.chat("other-name").status_code == 200)


def test_a_stopped_model_is_rejected_and_can_be_restarted(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
    make_router: Callable[..., RouterProcess],
) -> None:
    add_node("router-c")
    router = make_router(HOLD_SECONDS="600")
    tenant.create(model("chat", scaleToZeroAfter=3600))
    router.wait_until(ready(router, CHAT))
    made = tenant.get(API, KIND, "chat")
    tenant.api.patch(made, {"spec": {"stopped": True}})
    wait(tenant, "chat", phase("Stopped"))
    router.wait_until(lambda: router.states()[CHAT] == "stopped")
    answer = router.chat(CHAT)
    assert answer.status_code == 503
    assert "is stopped (stopped: true)" in answer.json()["error"]["message"]
    assert "wake-at" not in str(tenant.get(API, KIND, "chat")["metadata"].get("annotations"))
    tenant.api.patch(made, {"spec": {"stopped": False}})
    router.wait_until(lambda: router.chat(CHAT).status_code == 200)


def test_a_request_for_zero_replicas_is_held_until_a_scale_write(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
    make_router: Callable[..., RouterProcess],
) -> None:
    """As with KEDA: it reads the metric of held requests and writes the scale subresource."""
    add_node("router-d")
    router = make_router(HOLD_SECONDS="60")
    tenant.create(model("chat", replicas=0))
    wait(tenant, "chat", phase("ScaledToZero"))
    router.wait_until(lambda: router.states().get(CHAT) == "scaled_to_zero")
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(router.chat, CHAT)
        held = f'modelfleet_router_held{{model="{CHAT}"}} 1.0'
        router.wait_until(lambda: held in router.get("/metrics").text)
        tenant.kubectl("scale", "inferencemodel/chat", "--replicas=1")
        assert answer.result().status_code == 200
    assert answer.result().headers["x-modelfleet-cold"] == "true"


def test_only_the_own_namespace_is_served(
    tenant: Tenant, make_router: Callable[..., RouterProcess]
) -> None:
    with Tenant(tenant.api, "unseen") as unseen:
        unseen.create(model("hidden"))
        router = make_router()
        tenant.create(model("seen"))
        router.wait_until(lambda: "test/seen" in router.states())
        assert set(router.states()) == {"test/seen"}


def test_a_namespace_that_cannot_be_read_is_empty(
    tenant: Tenant, make_router: Callable[..., RouterProcess]
) -> None:
    tenant.create(model("chat"))
    router = make_router(WATCH_NAMESPACES=f"{tenant.namespace},deleted-namespace")
    assert CHAT in router.states()
    metrics = router.get("/metrics").text
    for namespace, value in ((tenant.namespace, 0), ("deleted-namespace", 1)):
        for kind in ("EndpointSlice", "InferenceModel"):
            labels = f'kind="{kind}",namespace="{namespace}"'
            assert f"modelfleet_router_namespace_unreadable{{{labels}}} {value}.0" in metrics
