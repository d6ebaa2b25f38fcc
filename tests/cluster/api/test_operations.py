"""Running it: rights, namespaces, an API server that goes away, health that means something."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from harness import operator_process
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.models import API, APPS, KIND, model, phase, reason, said, wait
from harness.nodes import on_node
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.played_kubelet import PlayedKubelet
from harness.tenant import Tenant
from harness.wire import Wire
from support.waiting import until

AddNode = Callable[..., Json]
Put = Callable[..., Json]
PROFILES = "modelfleet-profiles"


def config_map(data: dict[str, str]) -> Json:
    meta = {"name": PROFILES, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture
def profiles(api: Api, operator: OperatorProcess) -> Iterator[Callable[[dict[str, str]], None]]:
    """Sets the profiles; none are left after the test."""

    def use(data: dict[str, str]) -> None:
        api.apply(config_map(data))

    yield use
    api.delete(config_map({}))


def test_the_account_may_do_what_is_listed_and_nothing_else(
    api: Api, cluster_operator: OperatorProcess
) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:{operator_process.ACCOUNT}"

    def may(verb: str, group: str, resource: str, sub: str = "", name: str = "") -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": NAMESPACE,
                      "subresource": sub, "name": name}  # fmt: skip
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                  "spec": {"user": account, "resourceAttributes": attributes}}  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(api.request("POST", path, review)["status"]["allowed"])

    assert may("patch", "apps", "deployments")
    assert may("get", "", "configmaps", name=PROFILES)
    for verb, group, resource in (
        ("get", "", "secrets"),
        ("list", "", "secrets"),
        ("list", "", "configmaps"),
        ("create", "", "pods"),
        ("delete", "", "pods"),
        ("delete", "", "nodes"),
        ("patch", "modelfleet.dev", "inferencemodels"),
        ("delete", "modelfleet.dev", "inferencemodels"),
        ("create", "rbac.authorization.k8s.io", "rolebindings"),
        ("update", "apps", "deployments"),
    ):
        assert not may(verb, group, resource), f"{verb} {resource}"
    assert not may("create", "", "pods", sub="exec")
    assert not may("get", "", "pods", sub="log")


def test_a_profile_gives_what_the_resource_leaves_out(
    tenant: Tenant,
    kubelet: PlayedKubelet,
    add_node: AddNode,
    profiles: Callable[[dict[str, str]], None],
) -> None:
    add_node("profiled", labels={"disk": "fast"})
    tenant.create(model("fast", profile="fast", resources={"requests": {"cpu": "1"}}))
    wait(tenant, "fast", reason("InvalidSpec"))
    profiles({
        "fast": "nodeSelector: {disk: fast}\nresources: {requests: {cpu: 2, memory: 1Gi}}\n"
                "env: {LOG_LEVEL: debug}\nmodelCache: {size: 2Gi}\n",
        "broken": "nodeSelector: 3\n",
    })  # fmt: skip
    tenant.create(model("unlucky", profile="broken"))
    wait(tenant, "fast", lambda m: m and m["status"].get("reason") == "Unschedulable")
    pod = tenant.get(APPS, "Deployment", "fast")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "fast"}
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"memory": "36Gi"},
    }
    assert {"name": "LOG_LEVEL", "value": "debug"} in container["env"]
    claim = tenant.get("v1", "PersistentVolumeClaim", "fast-cache")
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    found = wait(tenant, "unlucky", lambda m: m and "nodeSelector" in said(m, "Ready")["message"])
    assert said(found, "Ready")["message"].startswith("profile 'broken': nodeSelector: ")

    profiles({"fast": "nodeSelector: {disk: fast}\n"})
    wait(tenant, "fast", phase("Ready"))
    tenant.wait("v1", "PersistentVolumeClaim", "fast-cache", is_leaving)


def is_leaving(item: Json | None) -> bool:
    return item is None or "deletionTimestamp" in item["metadata"]


def test_the_api_server_goes_away_and_comes_back(
    tenant: Tenant, put: Put, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    put("before")
    control_plane.stop_apiserver(kill=True)
    operator.await_answer("/readyz", 503)
    assert operator.answers("/healthz"), "a restart of the operator would not help"
    control_plane.start_apiserver()
    tenant.create(model("after"))
    wait(tenant, "after", phase("Ready"), timeout=60)
    tenant.kubectl("delete", "service/before")
    tenant.wait("v1", "Service", "before", bool)
    operator.await_answer("/readyz", 200)


def test_the_metrics_tell_of_work_and_of_models(put: Put, operator: OperatorProcess) -> None:
    put("measured")
    text = operator.metrics()
    for line in (
        'modelfleet_operator_models{phase="Ready"}',
        'modelfleet_operator_reconciles_total{result="changed"}',
        'modelfleet_operator_watch_stale{kind="Pod"} 0.0',
        'modelfleet_operator_watch_age_seconds{kind="Pod"}',
        'modelfleet_operator_api_calls_total{code="201",method="PATCH",resource="deployments"}',
        "modelfleet_operator_queue_depth",
        "modelfleet_operator_reconcile_seconds_bucket",
    ):
        assert line in text


def test_health_turns_bad_when_the_watches_are_dead_and_only_then(
    tenant: Tenant,
    another_operator: Callable[..., OperatorProcess],
    put: Put,
    api: Api,
    control_plane: ControlPlane,
) -> None:
    operator_process.grant(api)
    with Wire(control_plane.server) as wire:
        behind = another_operator(server=wire.server)
        put("seen")
        assert behind.answers("/healthz")
        # Watches say nothing once they stand; everything else asks every second.
        until(lambda: wire.freeze(quiet_for=4) >= 7)
        tenant.create(model("unseen", **on_node("seen")))
        behind.await_answer("/healthz", 503)
        assert 'watch_stale{kind="InferenceModel"} 1.0' in behind.metrics()
        assert "status" not in tenant.get(API, KIND, "unseen")
        wire.thaw()
        wait(tenant, "unseen", phase("Ready"), timeout=60)
        behind.await_answer("/healthz", 200)
        behind.stop()


def test_a_missed_deletion_is_noticed(
    tenant: Tenant, put: Put, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    """While the watches are cut, a Service goes: a relist does not tell of it, resync does."""
    put("cut")
    os.kill(operator.pid, signal.SIGSTOP)
    try:
        tenant.kubectl("delete", "service/cut")
        control_plane.stop_apiserver(kill=True)
        control_plane.start_apiserver()
    finally:
        os.kill(operator.pid, signal.SIGCONT)
    tenant.wait("v1", "Service", "cut", bool, timeout=60)


def test_one_namespace_with_the_rights_of_one_namespace(
    tenant: Tenant, another_operator: Callable[..., OperatorProcess], put: Put, api: Api
) -> None:
    with Tenant(api, "elsewhere") as elsewhere:
        operator_process.grant(api, (tenant.namespace,), account="single-namespace")
        single = another_operator("single-namespace", WATCH_NAMESPACES=tenant.namespace)
        elsewhere.create(model("ignored"))
        made = put("single", gpus=1)
        tenant.api.patch(made, {"spec": {"limits": {"maxItems": 7}}})
        wait(tenant, "single", lambda m: phase("Ready")(m) and "CapacityUnknown" in str(m))
        assert elsewhere.items(APPS, "Deployment") == []
        assert "forbidden" not in single.log()
