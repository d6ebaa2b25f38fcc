"""Claims of dynamically allocated devices."""

from __future__ import annotations

from typing import Any

from fleet_contract.pod.resources import DeviceRequest
from fleet_operator.resources.children import claim_template
from fleet_operator.resources.pod_parts.devices import (
    model_of_template,
    template_name,
    with_devices,
)
from support.operator_objects import model

GPUS = [
    DeviceRequest.model_validate(
        {"class": "gpu.nvidia.com", "count": 2, "selectors": ["device.driver == 'x'"]}
    )
]
POD: dict[str, Any] = {
    "containers": [
        {"name": "proxy"},
        {"name": "server", "resources": {"limits": {"memory": "1Gi"}}},
    ]
}


def test_the_template_is_owned_by_the_model() -> None:
    made = claim_template(model(), GPUS)
    assert made is not None
    assert (made["apiVersion"], made["kind"]) == ("resource.k8s.io/v1", "ResourceClaimTemplate")
    assert made["metadata"]["name"] == template_name("m", GPUS)
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-m"
    (request,) = made["spec"]["spec"]["devices"]["requests"]
    assert request == {
        "name": "device-0",
        "exactly": {
            "deviceClassName": "gpu.nvidia.com",
            "allocationMode": "ExactCount",
            "count": 2,
            "selectors": [{"cel": {"expression": "device.driver == 'x'"}}],
        },
    }
    assert claim_template(model(), []) is None


def test_each_content_has_a_name_of_its_own() -> None:
    """The spec of a ResourceClaimTemplate is immutable."""
    other = [DeviceRequest.model_validate({"class": "gpu.nvidia.com"})]
    assert template_name("m", GPUS) != template_name("m", other)
    assert template_name("m", GPUS) == template_name("m", list(GPUS))


def test_the_model_of_a_template() -> None:
    assert model_of_template(template_name("a-devices-b", GPUS)) == "a-devices-b"
    assert model_of_template("m-devices") is None
    assert model_of_template("m") is None


def test_only_the_container_of_the_server_claims_them() -> None:
    found = with_devices(POD, "m", GPUS)
    assert found["resourceClaims"] == [
        {"name": "devices", "resourceClaimTemplateName": template_name("m", GPUS)}
    ]
    proxy, server = found["containers"]
    assert "resources" not in proxy
    assert server["resources"] == {"limits": {"memory": "1Gi"}, "claims": [{"name": "devices"}]}
    assert with_devices(POD, "m", []) == POD
