"""InferencePools against a real API server, with and without their definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import inference_pools
from harness.api import Api, Json
from harness.models import API, KIND, condition, model, wait
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant

Put = Callable[..., Json]
POOL = (inference_pools.API, inference_pools.KIND)
WANTED: dict[str, Any] = {"endpointPickerRef": {"name": "epp"}}


@pytest.fixture
def without_definition(api: Api, operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """The definition that a test installs is deleted again, and the operator stopped."""
    yield operator
    operator.stop()
    inference_pools.remove(api)


@pytest.fixture
def with_definition(api: Api, operator: OperatorProcess) -> Iterator[OperatorProcess]:
    operator.stop()
    inference_pools.install(api)
    operator.start()
    yield operator
    operator.stop()
    inference_pools.remove(api)


def shows(status: str, why: str) -> Callable[[Json | None], bool]:
    def holds(found: Json | None) -> bool:
        one = condition(found, "InferencePool")
        return (one.get("status"), one.get("reason")) == (status, why)

    return holds


def change(tenant: Tenant, name: str, **spec: Any) -> None:
    tenant.api.patch(tenant.namespaced(model(name)), {"spec": spec})


def refers_to(name: str) -> Callable[[Json | None], bool]:
    return lambda found: bool(found) and found["spec"]["endpointPickerRef"]["name"] == name


def test_a_definition_that_is_installed_later_and_deleted(
    tenant: Tenant, api: Api, without_definition: OperatorProcess, put: Put
) -> None:
    pid = without_definition.pid
    put("served")
    change(tenant, "served", inferencePool=WANTED)
    found = wait(tenant, "served", shows("False", "InferencePoolUnavailable"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    assert condition(found, "Available")["status"] == "True"
    pods = {pod["metadata"]["uid"] for pod in tenant.items("v1", "Pod")}

    inference_pools.install(api)
    found = wait(tenant, "served", shows("True", "Created"))
    assert found["status"]["phase"] == "Ready"
    assert tenant.get(*POOL, "served")["spec"]["endpointPickerRef"]["name"] == "epp"

    inference_pools.remove(api)
    found = wait(tenant, "served", shows("False", "InferencePoolUnavailable"))
    assert found["status"]["ready"] == "1/1"
    assert {pod["metadata"]["uid"] for pod in tenant.items("v1", "Pod")} == pods
    assert without_definition.pid == pid, "the process stays"


def test_a_pool_follows_its_model(
    tenant: Tenant, api: Api, with_definition: OperatorProcess, put: Put
) -> None:
    put("pooled", inferencePool=WANTED)
    pool = tenant.wait(*POOL, "pooled", bool)
    assert pool["spec"] == {
        "appProtocol": "http",
        "selector": {"matchLabels": {"modelfleet.dev/inferencemodel": "pooled"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {
            "group": "",
            "kind": "Service",
            "name": "epp",
            "port": {"number": 9002},
            "failureMode": "FailClose",
        },
    }
    (owner,) = pool["metadata"]["ownerReferences"]
    assert owner["uid"] == tenant.get(API, KIND, "pooled")["metadata"]["uid"]
    assert "modelfleet.dev/applied" in pool["metadata"]["annotations"]

    refused = {
        "type": "ResolvedRefs",
        "status": "False",
        "reason": "InvalidExtensionRef",
        "message": "there is no Service epp",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": pool["metadata"]["generation"],
    }
    parents = [{"parentRef": {"name": "edge"}, "conditions": [refused]}]
    api.patch(pool, {"status": {"parents": parents}}, sub="status")
    found = wait(tenant, "pooled", shows("False", "RefsNotResolved"))
    assert "there is no Service epp" in condition(found, "InferencePool")["message"]
    assert found["status"]["phase"] == "Ready"

    picker = {"name": "other", "port": 9003, "failureMode": "FailOpen"}
    change(tenant, "pooled", inferencePool={"endpointPickerRef": picker})
    changed = tenant.wait(*POOL, "pooled", refers_to("other"))
    assert changed["spec"]["endpointPickerRef"]["port"] == {"number": 9003}
    assert changed["spec"]["endpointPickerRef"]["failureMode"] == "FailOpen"
    wait(tenant, "pooled", shows("True", "Created"))

    api.patch(pool, {"spec": {"endpointPickerRef": {"name": "edited"}}})
    tenant.wait(*POOL, "pooled", refers_to("other"))
    tenant.kubectl("delete", "inferencepool/pooled")
    again = tenant.wait(*POOL, "pooled", refers_to("other"))
    assert again["metadata"]["uid"] != pool["metadata"]["uid"]

    change(tenant, "pooled", inferencePool=None)
    tenant.wait(*POOL, "pooled", lambda item: item is None)
    wait(tenant, "pooled", lambda found: condition(found, "InferencePool") == {})


def test_the_pool_of_somebody_else_is_not_touched(
    tenant: Tenant, with_definition: OperatorProcess, put: Put
) -> None:
    labels = {
        "modelfleet.dev/inferencemodel": "taken",
        "app.kubernetes.io/managed-by": "modelfleet",
    }
    gateway = tenant.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway"}}
    )
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gateway", "controller": True,
             "uid": gateway["metadata"]["uid"]}  # fmt: skip
    foreign = tenant.create(
        {
            "apiVersion": inference_pools.API,
            "kind": inference_pools.KIND,
            "metadata": {"name": "taken", "labels": labels, "ownerReferences": [owner]},
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "targetPorts": [{"number": 1}]},
        }
    )
    put("taken")
    change(tenant, "taken", inferencePool=WANTED)
    found = wait(tenant, "taken", shows("False", "InferencePoolNameTaken"))
    assert (found["status"]["phase"], found["status"]["ready"]) == ("Degraded", "1/1")
    change(tenant, "taken", inferencePool=None)
    wait(tenant, "taken", lambda found: condition(found, "InferencePool") == {})
    after = tenant.get(*POOL, "taken")
    assert after["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert after["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]
