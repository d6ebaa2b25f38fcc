"""New versions: beside the old where there is room, else in its place; bad ones come to nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import pod_states
from harness.api import Json
from harness.models import APPS, model, phase, reason, said, wait
from harness.nodes import GPU, on_node
from harness.operator_process import OperatorProcess
from harness.played_kubelet import Behaviour, PlayedKubelet
from harness.tenant import Tenant

Put = Callable[..., Json]

pytestmark = pytest.mark.usefixtures("operator")


def new_version(tenant: Tenant, made: Json, **fields: object) -> None:
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 7}, **fields}})


def rolling(tenant: Tenant, name: str) -> Json:
    """How the Deployment rolls."""
    found: Json = tenant.get(APPS, "Deployment", name)["spec"]["strategy"]["rollingUpdate"]
    return found


def of_new_version(pod: Json) -> bool:
    return '"maxItems":7' in str(pod["spec"])


def new_ones(fare: Behaviour) -> Behaviour:
    """Pods of the new version fare so, old ones well."""
    return lambda pod, ip: fare(pod, ip) if of_new_version(pod) else pod_states.running(pod, ip)


def test_with_a_free_gpu_the_new_version_comes_first(tenant: Tenant, put: Put) -> None:
    made = put("surging", gpus=2)
    new_version(tenant, made)
    found = wait(tenant, "surging", lambda m: phase("Ready")(m) and "FreeCapacity" in str(m))
    assert rolling(tenant, "surging") == {"maxSurge": 1, "maxUnavailable": 0}
    choice = said(found, "RolloutStrategy")
    assert (choice["status"], choice["reason"]) == ("True", "FreeCapacity")
    assert choice["message"] == "Surge: Node surging has 1 nvidia.com/gpu free."


def test_without_a_free_gpu_the_old_version_hands_over(tenant: Tenant, put: Put) -> None:
    made = put("waiting", gpus=1)
    new_version(tenant, made)
    found = wait(tenant, "waiting", lambda m: phase("Ready")(m) and "NoFreeCapacity" in str(m))
    assert rolling(tenant, "waiting") == {"maxSurge": 0, "maxUnavailable": 1}
    choice = said(found, "RolloutStrategy")
    assert (choice["status"], choice["reason"]) == ("False", "NoFreeCapacity")
    assert all(map(of_new_version, tenant.items("v1", "Pod")))
    (event,) = tenant.wait_list("v1", "Event", bool, fieldSelector="reason=RollingOut")
    assert event["message"].startswith("NoFreeCapacity: No node has 1 nvidia.com/gpu free")


def test_a_bad_new_version_beside_the_old_one(
    tenant: Tenant, kubelet: PlayedKubelet, put: Put
) -> None:
    made = put("beside", gpus=2)
    message = '{"event": "load_failed", "message": "not a model"}'
    kubelet.behave(new_ones(lambda pod, ip: pod_states.crash_loop(
        pod, ip, exit_code=3, reason="Error", message=message)))  # fmt: skip
    new_version(tenant, made)
    found = wait(tenant, "beside", reason("LoadFailed"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert said(found, "Ready")["status"] == "True"
    progressing = said(found, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "LoadFailed")
    ready = [pod for pod in tenant.items("v1", "Pod") if "'ready': True" in str(pod["status"])]
    assert len(ready) == 1
    assert not of_new_version(ready[0])
    tenant.api.patch(made, {"spec": {"limits": None}})
    wait(tenant, "beside", phase("Ready"))


def test_a_bad_new_version_in_the_place_of_the_old_one_is_taken_back(
    tenant: Tenant, kubelet: PlayedKubelet, put: Put, operator: OperatorProcess
) -> None:
    made = put("back", gpus=1)
    kubelet.behave(new_ones(lambda pod, ip: pod_states.crash_loop(
        pod, ip, exit_code=137, reason="OOMKilled")))  # fmt: skip
    new_version(tenant, made)
    found = wait(tenant, "back", lambda m: reason("RolledBack")(m) and "'1/1'" in str(m))
    assert found["status"]["phase"] == "Degraded"
    assert said(found, "Ready")["status"] == "True"
    progressing = said(found, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "RolledBack")
    assert "OutOfMemory: The server exceeded" in progressing["message"]
    assert not any(map(of_new_version, tenant.items("v1", "Pod")))
    tenant.wait_list("v1", "Event", bool, fieldSelector="reason=RolledBack")

    operator.kill()
    operator.start()
    tenant.create(model("sentinel", **on_node("back")))
    wait(tenant, "sentinel", phase("Ready"))
    wait(tenant, "back", reason("RolledBack"))

    kubelet.behave(lambda pod, ip: pod_states.running(pod, ip))
    tenant.api.patch(made, {"spec": {"limits": {"maxItems": 8}}})
    found = wait(tenant, "back", phase("Ready"))
    assert "failedHash" not in found["status"]["rollout"]


def test_a_version_that_fits_nowhere_leaves_the_old_one_alone(tenant: Tenant, put: Put) -> None:
    made = put("greedy", gpus=1)
    new_version(tenant, made, resources={"limits": {GPU: 2}})
    found = wait(tenant, "greedy", reason("Unschedulable"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert said(found, "RolloutStrategy")["reason"] == "FitsNowhere"
    assert said(found, "Ready")["status"] == "True"


def test_a_surge_that_lost_its_place_hands_over(tenant: Tenant, put: Put) -> None:
    made = put("late", gpus=2)
    gate = {"spec": {"schedulingGates": [{"name": "test/wait"}]}}
    new_version(tenant, made, podTemplate=gate)
    wait(tenant, "late", lambda m: said(m, "RolloutStrategy").get("reason") == "FreeCapacity")
    pods = tenant.wait_list("v1", "Pod", lambda pods: any(map(of_new_version, pods)))
    (new,) = filter(of_new_version, pods)
    container = {"name": "main", "image": "example.test/none:1", "resources": {"limits": {GPU: 1}}}
    blocker = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "blocker"}}
    spec = {"containers": [container], **on_node("late")}
    tenant.create({**blocker, "spec": spec})
    tenant.wait("v1", "Pod", "blocker", lambda pod: pod and pod["status"]["phase"] == "Running")
    reference = {"apiVersion": "v1", "kind": "Pod", "metadata": new["metadata"]}
    tenant.api.patch(reference, {"spec": {"schedulingGates": None}})
    found = wait(tenant, "late", phase("Ready"), timeout=90)
    assert said(found, "RolloutStrategy")["reason"] == "NoFreeCapacity"
    left = {pod["metadata"]["name"] for pod in tenant.items("v1", "Pod")}
    assert left == {"blocker", new["metadata"]["name"]}
