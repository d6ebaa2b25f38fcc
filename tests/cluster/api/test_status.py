"""The status explains failures of scheduling, of pods and of servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness import pod_states
from harness.api import Json
from harness.fake_kubelet import FakeKubelet, report_nothing
from harness.http_stub import HttpStub
from harness.models import APPS, condition, model, phase, reason, wait
from harness.netns import Namespace
from harness.nodes import GPU, GPU_PRODUCT
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.tenant import Tenant

AddNode = Callable[..., Json]
UNUSED_ADDRESS = "10.90.240.1"
"""An address of the run's namespace that no simulated pod has."""


def test_unschedulable_until_a_node_is_added(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("small", cpu="2")
    tenant.create(model("big", resources={"requests": {"cpu": 4}}))
    found = wait(tenant, "big", reason("Unschedulable"))
    assert found["status"]["phase"] == "Pending"
    ready, scheduled = condition(found, "Ready"), condition(found, "Scheduled")
    assert (ready["status"], ready["reason"]) == ("False", "Unschedulable")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "Insufficient cpu" in scheduled["message"]
    add_node("large", cpu="8")
    found = wait(tenant, "big", phase("Ready"))
    assert condition(found, "Scheduled")["message"] == "On large."
    events = tenant.wait_list(
        "v1", "Event", lambda items: "'Ready'" in str(items),
        fieldSelector="involvedObject.kind=InferenceModel",
    )  # fmt: skip
    types = {event["reason"]: event["type"] for event in events}
    assert types == {"Unschedulable": "Warning", "Ready": "Normal"}


def test_gpu_models_are_scheduled_by_product(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    add_node("l4", gpus=1, product="NVIDIA-L4", taints=[taint])
    add_node("h100", gpus=1, product="NVIDIA-H100", taints=[taint])
    placed = {
        "resources": {"limits": {GPU: 1}},
        "nodeSelector": {GPU_PRODUCT: "NVIDIA-H100"},
        "runtimeClassName": "nvidia",
        "priorityClassName": "system-cluster-critical",
    }
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "nvidia"}
    tenant.api.apply({**runtime, "metadata": {"name": "nvidia"}})
    tenant.create(model("gpu", **placed))
    found = wait(tenant, "gpu", phase("Ready"))
    assert condition(found, "Scheduled")["message"] == "On h100."
    (pod,) = tenant.items("v1", "Pod")
    assert pod["spec"]["containers"][0]["image"] == "modelfleet-server:cuda"
    assert pod["spec"]["runtimeClassName"] == "nvidia"


FAILURES: list[tuple[str, Callable[[Json, str], Json], str, str, str]] = [
    (
        "image", lambda pod, ip: pod_states.waiting(pod, "ImagePullBackOff", "no such image", ip),
        "ImagePullFailed", "ImagePullBackOff: no such image", "Scheduled",
    ),
    (
        "config",
        lambda pod, ip: pod_states.waiting(pod, "CreateContainerConfigError", "no secret x", ip),
        "ContainerNotCreated", "CreateContainerConfigError: no secret x", "Scheduled",
    ),
    (
        "memory",
        lambda pod, ip: pod_states.crash_loop(pod, ip, exit_code=137, reason="OOMKilled"),
        "OutOfMemory", "The server exceeded its memory limit of 1Gi.", "WeightsReady",
    ),
    (
        "load",
        lambda pod, ip: pod_states.crash_loop(
            pod, ip, exit_code=3, reason="Error",
            message='{"event": "loading"}\n{"event": "load_failed", "message": "not a GGUF"}\n',
        ),
        "LoadFailed", "not a GGUF", "WeightsReady",
    ),
    (
        "golden",
        lambda pod, ip: pod_states.terminated(
            pod, ip, exit_code=3, reason="Error",
            message='{"event": "load_failed", "message": "Golden check failed: 4 is not 5"}',
        ),
        "GoldenCheckFailed", "Golden check failed: 4 is not 5", "WeightsReady",
    ),
    (
        "weights",
        lambda pod, ip: pod_states.terminated(
            pod, ip, exit_code=3, reason="Error",
            message='{"event": "load_failed", "stage": "fetch", "message": "no such revision"}',
        ),
        "WeightsFailed", "no such revision", "Scheduled",
    ),
    (
        "crash",
        lambda pod, ip: pod_states.crash_loop(
            pod, ip, exit_code=1, reason="Error", message="Traceback\nValueError: bad thing"
        ),
        "CrashLoopBackOff",
        "The server exited with status 1, 3 restarts: Error. The log of the pod has the cause.",
        "Scheduled",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "report", "expected_reason", "message", "true_condition"),
    FAILURES,
    ids=[failure[0] for failure in FAILURES],
)
def test_failing_pods(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: AddNode,
    operator: OperatorProcess,
    name: str,
    report: Callable[[Json, str], Json],
    expected_reason: str,
    message: str,
    true_condition: str,
) -> None:
    add_node(f"failure-{name}")
    kubelet.set_behaviour(report)
    tenant.create(model("poor", resources={"limits": {"memory": "1Gi"}}))
    found = wait(tenant, "poor", reason(expected_reason))
    assert found["status"]["phase"] == "Failed"
    assert found["status"]["ready"] == "0/1"
    for kind in ("Ready", "Progressing"):
        found_condition = condition(found, kind)
        assert (found_condition["status"], found_condition["reason"]) == ("False", expected_reason)
        assert found_condition["message"] == message
    assert condition(found, true_condition)["status"] == "True"
    events = tenant.wait_list("v1", "Event", bool, fieldSelector=f"reason={expected_reason}")
    assert [(event["type"], event["message"]) for event in events] == [("Warning", message)]

    kubelet.set_behaviour(lambda pod, ip: pod_states.running(pod, ip))
    wait(tenant, "poor", phase("Ready"))


def test_fetch_progress_and_cold_start(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: AddNode,
    operator: OperatorProcess,
    pod_network: Namespace,
) -> None:
    add_node("start-a")
    kubelet.set_behaviour(report_nothing)
    tenant.create(model("slow"))
    (pod,) = tenant.wait_list("v1", "Pod", lambda pods: pods and pods[0]["spec"].get("nodeName"))
    address = kubelet.address(pod)
    progress = {"done_bytes": 5 * 10**8, "total_bytes": 10**9, "bytes_per_second": 10**8,
                "seconds_left": 5}  # fmt: skip
    fetching = {"status": "fetching", "progress": progress, "stages": {"start": 0.5}}
    with HttpStub(address, 8000, {"/readyz": (503, fetching)}) as server:
        kubelet.report(pod, pod_states.running(pod, address, ready=False))
        found = wait(tenant, "slow", reason("FetchingWeights"))
        assert found["status"]["phase"] == "Progressing"
        text = "0.50 of 1.00 GB of weights, 100.0 MB/s, 5 s left"
        assert condition(found, "WeightsReady")["message"] == text
        assert found["status"]["weights"] == {
            "doneBytes": 5 * 10**8, "totalBytes": 10**9, "bytesPerSecond": 10**8, "secondsLeft": 5,
        }  # fmt: skip
        server.responses["/readyz"] = (503, {"status": "loading", "stages": {}})
        found = wait(tenant, "slow", reason("LoadingModel"))
        assert condition(found, "WeightsReady")["status"] == "True"
        assert condition(found, "Loaded")["status"] == "False"
        assert "weights" not in found["status"]
        stages = {"start": 0.5, "fetch": 2.25, "load": 1.0, "warm": 0.25, "golden": 0.1}
        ready = {"status": "ready", "engine": "openvino", "device": "cpu", "stages": stages}
        server.responses["/readyz"] = (200, ready)
        kubelet.report(pod, pod_states.running(pod, address))
        found = wait(tenant, "slow", lambda m: m and "coldStart" in m.get("status", {}))
    status: dict[str, Any] = found["status"]
    assert (status["phase"], status["engine"], status["acceleration"]) == (
        "Ready",
        "openvino",
        "cpu",
    )
    cold = status["coldStart"]
    assert {key: cold[key] for key in cold if key.removesuffix("Seconds") in stages} == {
        f"{name}Seconds": seconds for name, seconds in stages.items()
    }
    assert cold["totalSeconds"] >= cold["scheduleSeconds"] >= 0


def test_kubectl_wait(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("wait-a")
    kubelet.set_behaviour(report_nothing)
    tenant.create(model("awaited"))
    waiting = tenant.kubectl.popen("wait", "--for=condition=Ready", "im/awaited", "--timeout=180s")
    tenant.wait_list("v1", "Pod", lambda pods: pods and pods[0]["spec"].get("nodeName"))
    assert waiting.poll() is None
    kubelet.set_behaviour(lambda pod, ip: pod_states.running(pod, ip))
    output, _ = waiting.communicate(timeout=200)
    assert waiting.returncode == 0, output
    row = tenant.kubectl("get", "im", "awaited", "--no-headers").split()
    assert row[:7] == ["awaited", "test/awaited", "chat", "auto", "Ready", "1/1", "Ready"]


def test_unavailable_engines_and_unknown_profiles(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    meta = {"name": "modelfleet-profiles", "namespace": NAMESPACE}
    tenant.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {}})
    tenant.create(model("unavailable", device="mps"))
    tenant.create(model("lost", profile="nowhere"))
    found = wait(tenant, "unavailable", reason("EngineUnavailable"))
    assert found["status"]["phase"] == "Failed"
    unknown = "profile 'nowhere' does not exist; known: none"
    found = wait(tenant, "lost", lambda m: m and condition(m, "Ready").get("message") == unknown)
    assert found["status"]["reason"] == "InvalidSpec"
    assert tenant.items(APPS, "Deployment") == []


def test_an_invalid_change_keeps_the_servers(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("wrong-a")
    made = tenant.create(model("once"))
    wait(tenant, "once", phase("Ready"))
    tenant.api.patch(made, {"spec": {"device": "mps"}})
    found = wait(tenant, "once", reason("EngineUnavailable"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert condition(found, "Available")["status"] == "True"
    assert len(tenant.items("v1", "Pod")) == 1


def test_remote_models(
    tenant: Tenant,
    kubelet: FakeKubelet,
    add_node: AddNode,
    operator: OperatorProcess,
    pod_network: Namespace,
) -> None:
    add_node("remote-a")
    made = tenant.create(model("far"))
    wait(tenant, "far", phase("Ready"))
    remote = {"engine": "remote", "remote": {"address": f"http://{UNUSED_ADDRESS}:8000"}}
    tenant.api.patch(made, {"spec": remote})
    found = wait(tenant, "far", reason("RemoteUnreachable"))
    assert (found["status"]["phase"], condition(found, "Ready")["status"]) == ("Failed", "False")
    assert f"http://{UNUSED_ADDRESS}:8000 does not respond" in condition(found, "Ready")["message"]
    for api_version, kind in ((APPS, "Deployment"), ("v1", "Service")):
        tenant.wait(api_version, kind, "far", lambda item: item is None)
    with HttpStub(UNUSED_ADDRESS, 8000, {"/v1/models": (401, {})}) as server:
        found = wait(tenant, "far", reason("Remote"))
        assert found["status"]["url"] == f"http://{UNUSED_ADDRESS}:8000"
        assert (found["status"]["phase"], condition(found, "Ready")["status"]) == ("Ready", "True")
        server.responses["/v1/models"] = (502, {})
        found = wait(tenant, "far", reason("RemoteUnreachable"))
        assert condition(found, "Ready")["message"].endswith("responds with status 502.")


def test_third_party_images(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("foreign-a")
    image = {"image": "example.test/any:1", "port": 9000, "readyPath": "/up", "args": ["--fast"]}
    tenant.create(model("any", engine="container", container=image))
    tenant.create(model("llm", engine="vllm", container={"image": "example.test/vllm:1"}))
    tenant.create(model("none", engine="vllm"))
    found = wait(tenant, "none", reason("EngineUnavailable"))
    assert "VLLM_IMAGE are not set" in condition(found, "Ready")["message"]
    for name, engine in (("any", "container"), ("llm", "vllm")):
        assert wait(tenant, name, phase("Ready"))["status"]["engine"] == engine
    pods = {pod["metadata"]["labels"]["modelfleet.dev/inferencemodel"]: pod["spec"]
            for pod in tenant.items("v1", "Pod")}  # fmt: skip
    (any_server,), (vllm,) = pods["any"]["containers"], pods["llm"]["containers"]
    assert (any_server["image"], any_server["args"]) == ("example.test/any:1", ["--fast"])
    assert any_server["readinessProbe"]["httpGet"]["path"] == "/up"
    assert tenant.get("v1", "Service", "any")["spec"]["ports"][0]["targetPort"] == "http"
    assert any_server["ports"][0]["containerPort"] == 9000
    assert vllm["command"] == ["vllm", "serve"]
    assert vllm["args"][:3] == ["test/model", "--served-model-name", "test/llm"]


def test_existing_objects_are_not_taken_over(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("taken-a")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mine"}}
    tenant.create({**service, "spec": {"ports": [{"port": 80}], "selector": {"app": "mine"}}})
    tenant.create(model("mine"))
    found = wait(tenant, "mine", reason("NameTaken"))
    assert found["status"]["phase"] == "Conflict"
    assert tenant.get("v1", "Service", "mine")["spec"]["selector"] == {"app": "mine"}
    tenant.kubectl("delete", "service/mine")
    wait(tenant, "mine", phase("Ready"))


def test_the_older_claim_to_an_id_wins(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("twins-a")
    older = tenant.create(model("a-older", model="a/b", aliases=["short"]))
    wait(tenant, "a-older", phase("Ready"))
    tenant.create(model("b-younger", model="a/b", aliases=["short", "own"]))
    found = wait(tenant, "b-younger", reason("DuplicateModel"))
    assert found["status"]["phase"] == "Conflict"
    assert condition(found, "Ready")["message"] == (
        "The older InferenceModel 'a-older' already serves 'a/b'; this one is not served, nor are "
        "its aliases (short, own)."
    )
    names = [item["metadata"]["name"] for item in tenant.items(APPS, "Deployment")]
    assert names == ["a-older"]
    tenant.api.delete(older)
    wait(tenant, "b-younger", phase("Ready"))


def test_models_are_served_without_duplicate_aliases(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    add_node("aliases-a")
    older = tenant.create(model("a-older", model="a/b", aliases=["short", "c/d"]))
    wait(tenant, "a-older", phase("Ready"))
    tenant.create(model("b-younger", model="c/d", aliases=["short", "own"]))
    for name, message in (
        ("b-younger", "'short' belongs to the InferenceModel 'a-older'"),
        # Ids take precedence over aliases.
        ("a-older", "'c/d' belongs to the InferenceModel 'b-younger'"),
    ):
        found = wait(tenant, name, lambda m: reason("DuplicateAlias")(m) and "'1/1'" in str(m))
        assert found["status"]["phase"] == "Degraded"
        assert condition(found, "Available")["status"] == "True"
        aliases = condition(found, "AliasesServed")
        assert (aliases["status"], aliases["reason"]) == ("False", "DuplicateAlias")
        assert aliases["message"].startswith(message)
    tenant.api.delete(older)
    found = wait(tenant, "b-younger", phase("Ready"))
    assert condition(found, "AliasesServed") == {}


def test_pods_rejected_by_a_quota(
    tenant: Tenant, kubelet: FakeKubelet, add_node: AddNode, operator: OperatorProcess
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    tenant.create({**quota, "spec": {"hard": {"pods": "0"}}})
    tenant.wait("v1", "ResourceQuota", "none", lambda q: q and q.get("status", {}).get("hard"))
    tenant.create(model("refused"))
    found = wait(tenant, "refused", reason("PodsNotCreated"))
    assert "exceeded quota: none" in condition(found, "Ready")["message"]
