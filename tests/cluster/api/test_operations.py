"""RBAC rights, namespaces, API server outages and health checks of the operator."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from harness import operator_process
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.freezing_proxy import FreezingProxy
from harness.models import API, APPS, KIND, condition, model, phase, reason, wait
from harness.nodes import on_node
from harness.operator_process import NAMESPACE, OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

AddNode = Callable[..., Json]
Put = Callable[..., Json]
PROFILES = "modelfleet-profiles"


def config_map(data: dict[str, str]) -> Json:
    meta = {"name": PROFILES, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture
def profiles(api: Api, operator: OperatorProcess) -> Iterator[Callable[[dict[str, str]], None]]:
    """Set the profiles; they are removed after the test."""

    def use(data: dict[str, str]) -> None:
        api.apply(config_map(data))

    yield use
    api.delete(config_map({}))


def test_the_account_has_only_the_listed_rights(
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
    assert may("patch", "coordination.k8s.io", "leases", name="modelfleet-namespace")
    for verb, group, resource in (
        ("get", "", "secrets"),
        ("list", "", "secrets"),
        ("list", "", "configmaps"),
        ("create", "", "pods"),
        ("delete", "", "pods"),
        ("delete", "", "nodes"),
        ("delete", "", "persistentvolumeclaims"),
        ("patch", "modelfleet.dev", "inferencemodels"),
        ("delete", "modelfleet.dev", "inferencemodels"),
        ("create", "rbac.authorization.k8s.io", "rolebindings"),
        ("update", "apps", "deployments"),
    ):
        assert not may(verb, group, resource), f"{verb} {resource}"
    assert not may("create", "", "pods", sub="exec")
    assert not may("get", "", "pods", sub="log")


def test_a_profile_sets_missing_fields(
    tenant: Tenant,
    kubelet: FakeKubelet,
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
    found = wait(
        tenant, "unlucky", lambda m: m and "nodeSelector" in condition(m, "Ready")["message"]
    )
    assert condition(found, "Ready")["message"].startswith("profile 'broken': nodeSelector: ")

    profiles({"fast": "nodeSelector: {disk: fast}\n"})
    wait(tenant, "fast", phase("Ready"))
    kept = tenant.get("v1", "PersistentVolumeClaim", "fast-cache")
    assert "deletionTimestamp" not in kept["metadata"]


def test_api_server_outage(
    tenant: Tenant, put: Put, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    put("before")
    control_plane.stop_apiserver(kill=True)
    operator.wait_for_status("/readyz", 503)
    assert operator.is_ok("/healthz"), "a restart of the operator would not help"
    control_plane.start_apiserver()
    tenant.create(model("after"))
    wait(tenant, "after", phase("Ready"))
    tenant.kubectl("delete", "service/before")
    tenant.wait("v1", "Service", "before", bool)
    operator.wait_for_status("/readyz", 200)


def test_metrics(put: Put, operator: OperatorProcess) -> None:
    put("measured")
    lines = (
        'modelfleet_operator_models{phase="Ready"}',
        'modelfleet_operator_reconciles_total{result="changed"}',
        'modelfleet_operator_watch_stale{kind="Pod"} 0.0',
        'modelfleet_operator_watch_age_seconds{kind="Pod"}',
        'modelfleet_operator_api_calls_total{code="201",method="PATCH",resource="deployments"}',
        "modelfleet_operator_queue_depth",
        "modelfleet_operator_reconcile_seconds_bucket",
        'inferencemodel="measured",condition="Ready",status="true"} 1',
    )
    # Models are those of its cache, in which its own last write comes a moment later.
    until(lambda: all(line in operator.metrics() for line in lines), state=operator.metrics)


def test_health_fails_only_while_watches_are_dead(
    tenant: Tenant,
    another_operator: Callable[..., OperatorProcess],
    put: Put,
    api: Api,
    control_plane: ControlPlane,
) -> None:
    operator_process.grant(api)
    with FreezingProxy(control_plane.server) as proxy:
        proxied = another_operator(server=proxy.server)
        put("seen")
        assert proxied.is_ok("/healthz")
        # Synced watches send nothing; aiohttp closes other idle connections within 30 s.
        until(lambda: proxy.freeze(quiet_for=31) >= 8)
        tenant.create(model("unseen", **on_node("seen")))
        until(lambda: 'watch_stale{kind="InferenceModel"} 1.0' in proxied.metrics())
        assert not proxied.is_ok("/healthz")
        assert tenant.get(API, KIND, "unseen")["status"]["observedGeneration"] == -1  # the default
        proxy.close_frozen()
        wait(tenant, "unseen", phase("Ready"))
        proxied.wait_for_status("/healthz", 200)
        proxied.stop()


def test_a_missed_deletion_is_repaired(
    tenant: Tenant, put: Put, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    """A Service is deleted while the watches are cut: a relist does not report it, resync does."""
    put("cut")
    os.kill(operator.pid, signal.SIGSTOP)
    try:
        tenant.kubectl("delete", "service/cut")
        control_plane.stop_apiserver(kill=True)
        control_plane.start_apiserver()
    finally:
        os.kill(operator.pid, signal.SIGCONT)
    tenant.wait("v1", "Service", "cut", bool)


def test_one_namespace_with_namespaced_rights(
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
