"""Rollouts: surge if there is room, else hand-over; failed versions are rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import pod_states, volumes
from harness.api import Api, ApiError, Json
from harness.fake_kubelet import Behaviour, FakeKubelet
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.nodes import GPU, on_node
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

Put = Callable[..., Json]

pytestmark = pytest.mark.usefixtures("operator")


def new_version(tenant: Tenant, made: Json, **fields: object) -> None:
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 7}, **fields}})


def update_strategy(tenant: Tenant, name: str) -> Json:
    """The update strategy of the Deployment."""
    found: Json = tenant.get(APPS, "Deployment", name)["spec"]["strategy"]["rollingUpdate"]
    return found


def of_new_version(pod: Json) -> bool:
    return '"maxItems":7' in str(pod["spec"])


def new_version_reports(report: Behaviour) -> Behaviour:
    """Report `report` for pods of the new version; those of the old version are ready."""
    return lambda pod, ip: report(pod, ip) if of_new_version(pod) else pod_states.running(pod, ip)


@pytest.fixture
def with_volume(api: Api, tenant: Tenant) -> Iterator[Json]:
    """A `podTemplate` that mounts a ReadWriteOnce claim."""
    volume, claim = volumes.claim("weights", tenant.namespace, Path("/weights"))
    for item in (volume, claim):
        item["spec"]["accessModes"] = ["ReadWriteOnce"]
    api.create(volume)
    tenant.create(claim)
    source = {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}
    mount = {"name": "server", "volumeMounts": [{"name": "weights", "mountPath": "/weights"}]}
    yield {"spec": {"containers": [mount], "volumes": [source]}}
    api.delete(volume)


def test_surge_with_a_free_gpu(
    tenant: Tenant, put: Put, add_node: Callable[..., Json], with_volume: Json
) -> None:
    """On the node that has the volume of the model; a GPU of another node is no place for it."""
    add_node("without-volume", gpus=1)
    made = put("surging", gpus=2, podTemplate=with_volume)
    tenant.kubectl("scale", "im/surging", "--replicas=2")
    found = wait(tenant, "surging", lambda m: condition(m, "ReplicasLimited") != {})
    assert condition(found, "ReplicasLimited")["reason"] == "SingleNodeVolume"
    tenant.kubectl("scale", "im/surging", "--replicas=1")
    new_version(tenant, made)
    found = wait(tenant, "surging", lambda m: phase("Ready")(m) and "FreeCapacity" in str(m))
    assert update_strategy(tenant, "surging") == {"maxSurge": 1, "maxUnavailable": 0}
    strategy = condition(found, "RolloutStrategy")
    assert (strategy["status"], strategy["reason"]) == ("True", "FreeCapacity")
    assert strategy["message"] == "Surge: Node surging has 1 nvidia.com/gpu free."
    new_version(tenant, made, limits={"maxItems": 8}, nodeSelector=None)
    found = wait(tenant, "surging", lambda m: phase("Ready")(m) and "VolumeInUse" in str(m))
    assert update_strategy(tenant, "surging") == {"maxSurge": 0, "maxUnavailable": 1}
    assert "claim weights can be mounted" in condition(found, "RolloutStrategy")["message"]


def test_hand_over_without_a_free_gpu(tenant: Tenant, put: Put) -> None:
    made = put("waiting", gpus=1)
    new_version(tenant, made)
    found = wait(tenant, "waiting", lambda m: phase("Ready")(m) and "NoFreeCapacity" in str(m))
    assert update_strategy(tenant, "waiting") == {"maxSurge": 0, "maxUnavailable": 1}
    strategy = condition(found, "RolloutStrategy")
    assert (strategy["status"], strategy["reason"]) == ("False", "NoFreeCapacity")
    assert all(map(of_new_version, tenant.items("v1", "Pod")))
    (event,) = tenant.wait_list("v1", "Event", bool, fieldSelector="reason=RollingOut")
    assert event["message"].startswith("NoFreeCapacity: No node has 1 nvidia.com/gpu free")


def test_a_failed_surge_keeps_the_old_version(
    tenant: Tenant, kubelet: FakeKubelet, put: Put
) -> None:
    made = put("beside", gpus=2)
    message = '{"event": "load_failed", "message": "not a model"}'
    kubelet.set_behaviour(new_version_reports(lambda pod, ip: pod_states.crash_loop(
        pod, ip, exit_code=3, reason="Error", message=message)))  # fmt: skip
    new_version(tenant, made)
    found = wait(tenant, "beside", reason("LoadFailed"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert condition(found, "Ready")["status"] == "False"
    assert condition(found, "Available")["status"] == "True"
    progressing = condition(found, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "LoadFailed")
    ready = [pod for pod in tenant.items("v1", "Pod") if "'ready': True" in str(pod["status"])]
    assert len(ready) == 1
    assert not of_new_version(ready[0])
    tenant.api.patch(made, {"spec": {"limits": None}})
    wait(tenant, "beside", phase("Ready"))


def test_a_failed_hand_over_is_rolled_back(
    tenant: Tenant, kubelet: FakeKubelet, put: Put, operator: OperatorProcess
) -> None:
    made = put("back", gpus=1)
    kubelet.set_behaviour(new_version_reports(lambda pod, ip: pod_states.crash_loop(
        pod, ip, exit_code=137, reason="OOMKilled")))  # fmt: skip
    new_version(tenant, made)
    found = wait(tenant, "back", lambda m: reason("RolledBack")(m) and "'1/1'" in str(m))
    assert found["status"]["phase"] == "Degraded"
    assert condition(found, "Ready")["status"] == "False"
    assert condition(found, "Available")["status"] == "True"
    progressing = condition(found, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "RolledBack")
    assert "OutOfMemory: The server exceeded" in progressing["message"]
    assert not any(map(of_new_version, tenant.items("v1", "Pod")))
    tenant.wait_list("v1", "Event", bool, fieldSelector="reason=RolledBack")

    operator.kill()
    operator.start()
    tenant.create(model("sentinel", **on_node("back")))
    wait(tenant, "sentinel", phase("Ready"))
    wait(tenant, "back", reason("RolledBack"))

    kubelet.set_behaviour(lambda pod, ip: pod_states.running(pod, ip))
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 8}}})
    found = wait(tenant, "back", phase("Ready"))
    assert "failedHash" not in found["status"]["rollout"]


def test_an_unschedulable_version_keeps_the_old_one(tenant: Tenant, put: Put) -> None:
    made = put("greedy", gpus=1)
    new_version(tenant, made, resources={"limits": {GPU: 2}})
    found = wait(tenant, "greedy", reason("Unschedulable"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert condition(found, "RolloutStrategy")["reason"] == "FitsNowhere"
    assert condition(found, "Available")["status"] == "True"


def test_a_surge_without_capacity_becomes_a_hand_over(tenant: Tenant, put: Put) -> None:
    made = put("late", gpus=2)
    gate = {"spec": {"schedulingGates": [{"name": "test/wait"}]}}
    new_version(tenant, made, podTemplate=gate)
    wait(tenant, "late", lambda m: condition(m, "RolloutStrategy").get("reason") == "FreeCapacity")
    pods = tenant.wait_list("v1", "Pod", lambda pods: any(map(of_new_version, pods)))
    (new,) = filter(of_new_version, pods)
    container = {"name": "main", "image": "example.test/none:1", "resources": {"limits": {GPU: 1}}}
    blocker = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "blocker"}}
    spec = {"containers": [container], **on_node("late")}
    tenant.create({**blocker, "spec": spec})
    tenant.wait("v1", "Pod", "blocker", lambda pod: pod and pod["status"]["phase"] == "Running")
    reference = {"apiVersion": "v1", "kind": "Pod", "metadata": new["metadata"]}
    tenant.api.patch(reference, {"spec": {"schedulingGates": None}})
    found = wait(tenant, "late", phase("Ready"))
    assert condition(found, "RolloutStrategy")["reason"] == "NoFreeCapacity"
    left = {pod["metadata"]["name"] for pod in tenant.items("v1", "Pod")}
    assert left == {"blocker", new["metadata"]["name"]}


def test_a_surge_that_a_quota_refuses_becomes_a_hand_over(tenant: Tenant, put: Put) -> None:
    """There is no pod that could be unschedulable; requests are held, not refused."""
    made = put("counted")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}}
    tenant.create({**quota, "spec": {"hard": {"pods": "1"}}})
    tenant.wait("v1", "ResourceQuota", "one",
                lambda q: q and q.get("status", {}).get("used") == {"pods": "1"})  # fmt: skip
    new_version(tenant, made)
    found = wait(tenant, "counted", reason("QuotaExceeded"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    found = wait(tenant, "counted", phase("Ready"))
    strategy = condition(found, "RolloutStrategy")
    assert (strategy["status"], strategy["reason"]) == ("False", "SurgeBlocked")
    assert "exceeded quota: one" in strategy["message"]
    assert all(map(of_new_version, tenant.items("v1", "Pod")))


def test_a_restart_by_kubectl_without_a_free_gpu(tenant: Tenant, put: Put) -> None:
    """The new pod has the same version as the old one."""
    put("restarted", gpus=1)
    (before,) = tenant.items("v1", "Pod")
    deployment = tenant.get(APPS, "Deployment", "restarted")
    now = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T12:00:00Z"}
    tenant.api.patch(deployment, {"spec": {"template": {"metadata": {"annotations": now}}}})

    def replaced(found: Json | None) -> bool:
        pods = tenant.items("v1", "Pod")
        gone = all(pod["metadata"]["uid"] != before["metadata"]["uid"] for pod in pods)
        return gone and phase("Ready")(found)

    found = wait(tenant, "restarted", replaced)
    assert condition(found, "RolloutStrategy")["reason"] == "NoFreeCapacity"


def test_models_with_gpus_are_rolled_out_one_at_a_time(
    tenant: Tenant, kubelet: FakeKubelet, put: Put
) -> None:
    made = [put(name, gpus=1) for name in ("first", "second", "third")]
    kubelet.set_behaviour(new_version_reports(
        lambda pod, ip: pod_states.running(pod, ip, ready=False)))  # fmt: skip
    for each in made:
        new_version(tenant, each)
        wait(tenant, each["metadata"]["name"], lambda m: m["status"]["phase"] == "Progressing")
    tenant.wait_list("v1", "Pod", lambda pods: any(map(of_new_version, pods)))
    for name in ("second", "third"):
        found = wait(tenant, name, lambda m: reason("WaitingForTurn")(m)
                     and f"{tenant.namespace}/first" in str(m))  # fmt: skip
        assert condition(found, "Ready")["status"] == "True"
    new = [pod["metadata"]["name"] for pod in tenant.items("v1", "Pod") if of_new_version(pod)]
    assert [name.partition("-")[0] for name in new] == ["first"]
    kubelet.set_behaviour(lambda pod, ip: pod_states.running(pod, ip))
    for each in made:
        wait(tenant, each["metadata"]["name"], phase("Ready"))
    assert all(map(of_new_version, tenant.items("v1", "Pod")))


def test_a_webhook_that_does_not_respond_is_no_failure(tenant: Tenant, put: Put) -> None:
    made = put("patient")
    hook = {
        "name": "silent.example.test",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                   "resources": ["deployments"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}},
        "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 1,
    }  # fmt: skip
    webhook = tenant.api.create({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": tenant.namespace}, "webhooks": [hook],
    })  # fmt: skip
    try:
        refused = {"spec": {"template": {"metadata": {"annotations": {"test/try": "1"}}}}}
        deployment = tenant.get(APPS, "Deployment", "patient")
        until(lambda: _is_refused(tenant, deployment, refused))
        new_version(tenant, made)
        # A model that is decided later in the same queue shows that this one was tried.
        put("sentinel")
        put("sentinel-2")
        found = tenant.get(API, KIND, "patient")
        assert (found["status"]["phase"], found["status"]["ready"]) == ("Ready", "1/1")
    finally:
        tenant.api.delete(webhook)
    wait(tenant, "patient", phase("Ready"))
    tenant.wait_list(
        "v1", "Pod", lambda pods: pods and all(map(of_new_version, pods)),
        labelSelector="modelfleet.dev/inferencemodel=patient",
    )  # fmt: skip


def _is_refused(tenant: Tenant, target: Json, change: Json) -> bool:
    try:
        tenant.api.patch(target, change)
    except ApiError as error:
        return "failed calling webhook" in str(error)
    return False
