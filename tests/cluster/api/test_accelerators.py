"""Accelerators against a real API server and scheduler: devices by DRA, and Kueue's label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.api import Api, Json
from harness.fake_kubelet import FakeKubelet
from harness.models import API, APPS, KIND, condition, model, phase, wait
from harness.nodes import on_node
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant

DRA = "resource.k8s.io/v1"
TEMPLATE = "ResourceClaimTemplate"
CLASS = "gpu.nvidia.com"
NODE = "dra-a"


@pytest.fixture
def devices(api: Api, add_node: Callable[..., Json]) -> Iterator[None]:
    """A node with four devices of a class, as a DRA driver publishes them."""
    add_node(NODE)
    device_class = {"apiVersion": DRA, "kind": "DeviceClass", "metadata": {"name": CLASS},
                    "spec": {}}  # fmt: skip
    memory = {"capacity": {"memory": {"value": "24Gi"}}}
    slices = {
        "apiVersion": DRA,
        "kind": "ResourceSlice",
        "metadata": {"name": f"{NODE}-{CLASS}"},
        "spec": {
            "driver": CLASS,
            "nodeName": NODE,
            "pool": {"name": NODE, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": f"gpu-{i}", **memory} for i in range(4)],
        },
    }
    api.apply(device_class)
    api.apply(slices)
    yield
    api.delete(slices)
    api.delete(device_class)


def templates(tenant: Tenant) -> set[str]:
    return {item["metadata"]["name"] for item in tenant.items(DRA, TEMPLATE)}


def test_devices_are_allocated_and_their_templates_follow_the_spec(
    tenant: Tenant, kubelet: FakeKubelet, devices: None, operator: OperatorProcess
) -> None:
    request: dict[str, Any] = {
        "class": CLASS,
        "selectors": [
            f"device.capacity['{CLASS}'].memory.compareTo(quantity('20Gi')) >= 0",
        ],
    }
    made = model("claims", devices=[request], **on_node(NODE))
    made["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team", "unrelated": "x"}
    tenant.create(made)
    wait(tenant, "claims", phase("Ready"))
    (first,) = templates(tenant)
    (claim,) = tenant.items(DRA, "ResourceClaim")
    allocated = claim["status"]["allocation"]["devices"]["results"]
    assert [one["driver"] for one in allocated] == [CLASS]
    (pod,) = tenant.items("v1", "Pod")
    for found in (pod, tenant.get(APPS, "Deployment", "claims")):
        assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
        assert "unrelated" not in found["metadata"]["labels"]

    tenant.api.patch(tenant.get(API, KIND, "claims"),
                     {"spec": {"devices": [{**request, "count": 2}]}})  # fmt: skip
    tenant.wait_list(DRA, TEMPLATE, lambda items: len(items) == 1 and first not in {
        item["metadata"]["name"] for item in items})  # fmt: skip
    tenant.wait_list(DRA, "ResourceClaim", lambda items: [
        len(item.get("status", {}).get("allocation", {}).get("devices", {}).get("results", []))
        for item in items] == [2])  # fmt: skip
    wait(tenant, "claims", phase("Ready"))

    (second,) = templates(tenant)
    tenant.kubectl("delete", "resourceclaimtemplate", second)
    tenant.wait(DRA, TEMPLATE, second, bool)


def test_a_claim_that_no_device_fulfils_is_reported(
    tenant: Tenant, kubelet: FakeKubelet, devices: None, operator: OperatorProcess
) -> None:
    tenant.create(model("large", devices=[{"class": CLASS, "count": 9}], **on_node(NODE)))
    found = wait(tenant, "large", unschedulable)
    assert "claim" in condition(found, "Scheduled")["message"]


def unschedulable(found: Json | None) -> bool:
    return condition(found, "Scheduled").get("reason") == "Unschedulable"
