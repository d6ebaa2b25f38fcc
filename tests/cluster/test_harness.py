"""The harness: its control plane schedules, controls and rejects like any other."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import pytest

from harness import binaries, leftovers, pod_states
from harness.api import Api, ApiError, Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.netns import Namespace
from harness.nodes import GPU, GPU_PRODUCT
from harness.run import Run
from harness.tenant import Tenant

APPS = "apps/v1"


def deployment(name: str, replicas: int = 1, gpus: int = 0, product: str | None = None) -> Json:
    labels = {"app": name}
    container: Json = {"name": "main", "image": "example.test/none:1"}
    if gpus:
        container["resources"] = {"limits": {GPU: str(gpus)}}
    pod: Json = {"containers": [container]}
    if product:
        pod["nodeSelector"] = {GPU_PRODUCT: product}
    return {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def available(count: int) -> Callable[[Json | None], bool]:
    return lambda item: bool(item) and item["status"].get("availableReplicas", 0) == count


def test_the_api_server_has_the_pinned_version(control_plane: ControlPlane, api: Api) -> None:
    assert api.request("GET", "/version")["gitVersion"] == binaries.kubernetes_version()


def test_a_deployment_becomes_available(
    tenant: Tenant, kubelet: FakeKubelet, add_node: Callable[..., Json]
) -> None:
    add_node("plain-a")
    tenant.create(deployment("web", replicas=2))
    tenant.wait(APPS, "Deployment", "web", available(2))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    tenant.create(service)
    addresses = {pod["status"]["podIP"] for pod in tenant.items("v1", "Pod")}

    def listed(slices: list[Json]) -> bool:
        return addresses == {
            address
            for one in slices
            for endpoint in one["endpoints"] or ()
            for address in endpoint["addresses"]
        }

    tenant.wait_list("discovery.k8s.io/v1", "EndpointSlice", listed)


def test_the_scheduler_honours_gpu_selectors(
    tenant: Tenant, kubelet: FakeKubelet, add_node: Callable[..., Json]
) -> None:
    add_node("gpu-l4", gpus=1, product="NVIDIA-L4")
    add_node("gpu-h100", gpus=1, product="NVIDIA-H100")
    tenant.create(deployment("model", replicas=2, gpus=1, product="NVIDIA-H100"))
    tenant.wait(APPS, "Deployment", "model", available(1))
    pods = tenant.items("v1", "Pod")
    assert sorted(pod["spec"].get("nodeName", "") for pod in pods) == ["", "gpu-h100"]
    (waiting,) = (pod for pod in pods if "nodeName" not in pod["spec"])

    def unschedulable(pod: Json | None) -> bool:
        conditions = pod["status"].get("conditions", []) if pod else []
        return any(condition.get("reason") == "Unschedulable" for condition in conditions)

    pod = tenant.wait("v1", "Pod", waiting["metadata"]["name"], unschedulable)
    assert "Insufficient nvidia.com/gpu" in str(pod["status"]["conditions"])


def test_pods_report_the_behaviour_of_a_test(
    tenant: Tenant, kubelet: FakeKubelet, add_node: Callable[..., Json]
) -> None:
    add_node("plain-b")
    kubelet.set_behaviour(
        lambda pod, address: pod_states.crash_loop(
            pod, address, exit_code=137, reason="OOMKilled", restarts=4
        )
    )
    tenant.create(deployment("greedy"))

    tenant.wait_list("v1", "Pod", lambda pods: "CrashLoopBackOff" in str(pods))
    kubelet.set_behaviour(lambda pod, address: pod_states.running(pod, address))
    tenant.wait(APPS, "Deployment", "greedy", available(1))


def test_a_service_account_has_no_rights(tenant: Tenant, control_plane: ControlPlane) -> None:
    path = tenant.api.path("v1", "ServiceAccount", tenant.namespace, "default")
    token = tenant.api.request("POST", f"{path}/token", {"spec": {}})["status"]["token"]
    config = control_plane.kubeconfig_with(tenant.namespace, token, tenant.namespace)
    with Api(config) as limited, pytest.raises(ApiError, match="cannot list resource") as error:
        limited.items("v1", "Pod", tenant.namespace)
    assert error.value.status == 403


def test_the_cluster_survives_an_api_server_restart(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: Callable[..., Json],
    control_plane: ControlPlane,
) -> None:
    add_node("plain-c")
    tenant.create(deployment("lasting"))
    tenant.wait(APPS, "Deployment", "lasting", available(1))
    control_plane.stop_apiserver(kill=True)
    control_plane.start_apiserver()
    scale = {"spec": {"replicas": 3}}
    target = tenant.namespaced(deployment("lasting"))
    tenant.api.patch(target, scale, sub="scale")
    tenant.wait(APPS, "Deployment", "lasting", available(3))


def test_the_processes_carry_the_mark_of_the_run(run: Run, control_plane: ControlPlane) -> None:
    names = {process.name() for process in leftovers.marked(run.folder)}
    assert {"etcd", "kube-apiserver", "kube-scheduler"} <= names


def test_no_packet_can_leave_the_machine(pod_network: Namespace) -> None:
    routes = subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout
    assert routes
    assert "default" not in routes
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        pytest.raises(OSError, match="unreachable"),
    ):
        sender.connect(("192.0.2.1", 9))
