"""Accelerators of a spec: which names stand for them, and which layer decides."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.accelerators import (
    SpecLayer,
    Vendor,
    device,
    is_accelerator,
    requested,
    vendor,
)  # fmt: skip
from fleet_contract.completion import Completed, complete
from fleet_contract.spec import ModelSpec

GPU = {"limits": {"nvidia.com/gpu": "1"}}
KNOWN = catalog.parse(
    """
models:
- model: acme/gpu
  resources: {requests: {cpu: "1"}, limits: {memory: 1Gi, nvidia.com/gpu: "2"}}
- model: acme/both
  resources: {requests: {nvidia.com/gpu: "1"}, limits: {nvidia.com/gpu: "1"}}
- model: acme/cpu
  device: cpu
- model: acme/small
  resources: {limits: {memory: 1Gi}}
""",
    "test",
)


def completed(profile: dict[str, Any], model: str = "acme/gpu", **spec: Any) -> Completed:
    return complete({"model": model, **spec}, KNOWN, [SpecLayer("profile p", profile)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia.com/gpu", Vendor.NVIDIA),
        ("nvidia.com/gpu.shared", Vendor.NVIDIA),
        ("nvidia.com/mig-1g.10gb", Vendor.NVIDIA),
        ("amd.com/gpu", Vendor.AMD),
        ("gpu.intel.com/i915", Vendor.INTEL),
        ("gpu.intel.com/xe", Vendor.INTEL),
        ("npu.intel.com/accel", Vendor.INTEL),
        ("habana.ai/gaudi", None),
        ("google.com/tpu", None),
    ],
)
def test_accelerators_by_the_name_of_the_resource(name: str, expected: Vendor | None) -> None:
    assert is_accelerator(name)
    assert vendor(name) is expected


@pytest.mark.parametrize(
    "name",
    ["cpu", "memory", "hugepages-2Mi", "example.com/fpga", "notnvidia.com/gpu", "rdma/hca",
     "nvidia.com/gpumem", "nvidia.com/gpucores", "nvidia.com/gpumem-percentage",
     "gpu.intel.com/i915_monitoring", "gpu.intel.com/millicores"],
)  # fmt: skip
def test_other_resources_and_shares_of_accelerators(name: str) -> None:
    assert not is_accelerator(name)


@pytest.mark.parametrize(
    "resource", ["nvidia.com/mig-1g.10gb", "amd.com/gpu", "nvidia.com/gpu.shared"]
)
def test_a_profile_replaces_the_accelerator_of_the_catalog(resource: str) -> None:
    done = completed({"resources": {"limits": {resource: "1", "memory": "9Gi"}}})
    assert done.spec.resources.limits == {"memory": "1Gi", resource: "1"}
    assert done.spec.resources.requests == {"cpu": "1"}
    assert done.origin(f"resources.limits.{resource}") == "profile p"
    assert done.notes == (
        f"nvidia.com/gpu of the catalog left out: the profile p names {resource}",
    )


def test_the_manifest_replaces_those_of_profile_and_catalog() -> None:
    profile = {"resources": {"limits": {"amd.com/gpu": "1"}}}
    mig = {"limits": {"nvidia.com/mig-1g.10gb": 1}}
    done = completed(profile, resources=mig)
    assert done.spec.resources.limits == {"nvidia.com/mig-1g.10gb": "1", "memory": "1Gi"}
    assert len(done.notes) == 2


def test_a_profile_with_the_same_resource_keeps_the_amount_of_the_catalog() -> None:
    """The catalog knows how many its model needs, a profile which ones its nodes have."""
    done = completed({"resources": GPU})
    assert done.spec.resources.limits == {"memory": "1Gi", "nvidia.com/gpu": "2"}
    assert done.notes == ()


def test_an_amount_of_the_manifest_replaces_request_and_limit() -> None:
    """The API server refuses extended resources whose request differs from the limit."""
    done = completed({}, "acme/both", resources={"limits": {"nvidia.com/gpu": 4}})
    assert done.spec.resources.limits == {"nvidia.com/gpu": "4"}
    assert done.spec.resources.requests == {}
    done = completed({"resources": {"requests": {"nvidia.com/gpu": "3"}}}, "acme/both")
    assert done.spec.resources.requests == {"nvidia.com/gpu": "1"}


def test_none_is_requested_where_the_manifest_requests_zero() -> None:
    done = completed({"resources": {"limits": {"amd.com/gpu": "1"}}},
                     resources={"limits": {"nvidia.com/gpu": 0}})  # fmt: skip
    assert done.spec.resources.limits == {"nvidia.com/gpu": "0", "memory": "1Gi"}
    assert requested(done.spec) == []


def test_shares_join_the_accelerator_of_another_layer_and_go_with_their_own() -> None:
    share = {"resources": {"limits": {"nvidia.com/gpumem": "3000"}}}
    assert completed(share).spec.resources.limits == {
        "memory": "1Gi", "nvidia.com/gpu": "2", "nvidia.com/gpumem": "3000",
    }  # fmt: skip
    both = {"resources": {"limits": {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "3000"}}}
    amd = {"limits": {"amd.com/gpu": 1}}
    assert completed(both, "acme/small", resources=amd).spec.resources.limits == {
        "amd.com/gpu": "1", "memory": "1Gi",
    }  # fmt: skip


def test_devices_and_resources_are_the_same_unit() -> None:
    devices = [{"class": "gpu.nvidia.com", "count": 2, "selectors": ["device.driver == 'x'"]}]
    done = completed({"devices": devices})
    assert [one.to_wire() for one in done.spec.devices] == devices
    assert done.spec.resources.limits == {"memory": "1Gi"}
    done = completed({"devices": devices}, resources=GPU)
    assert done.spec.devices == []
    assert done.spec.resources.limits == {"memory": "1Gi", "nvidia.com/gpu": "1"}
    done = completed({"resources": GPU}, devices=[{"class": "gpu.amd.com"}])
    assert requested(done.spec) == ["gpu.amd.com"]


@pytest.mark.parametrize(
    ("device", "kept"),
    [("cpu", []), ("mps", []), ("gpu:1", []), ("npu", []), ("cuda:0", ["amd.com/gpu"]),
     ("auto", ["amd.com/gpu"])],
)  # fmt: skip
def test_the_device_of_the_manifest_leaves_out_what_it_cannot_use(
    device: str, kept: list[str]
) -> None:
    profile = {"device": "cuda", "resources": {"limits": {"amd.com/gpu": "1"}}}
    assert requested(completed(profile, device=device).spec) == kept


def test_the_device_of_a_profile_leaves_out_the_accelerator_of_the_catalog() -> None:
    done = completed({"device": "cpu"})
    assert requested(done.spec) == []
    assert done.notes == ("nvidia.com/gpu of the catalog left out: the profile p requires device "
                          "cpu",)  # fmt: skip
    own = {"device": "gpu", "resources": {"limits": {"gpu.intel.com/xe": "1"}}}
    assert requested(completed(own).spec) == ["gpu.intel.com/xe"]


def test_of_several_profiles_the_first_decides() -> None:
    amd, intel = (
        SpecLayer(f"profile {name}", {"resources": {"limits": {name: "1"}}})
        for name in ("amd.com/gpu", "gpu.intel.com/xe")
    )
    for first, second in ((amd, intel), (intel, amd)):
        done = complete({"model": "acme/gpu"}, KNOWN, [first, second])
        (kept,) = requested(done.spec)
        assert first.name == f"profile {kept}"
        assert done.notes == (
            f"nvidia.com/gpu of the catalog left out: the {first.name} names {kept}",
            f"{second.name.removeprefix('profile ')} of the {second.name} left out: the "
            f"{first.name} names {kept}",
        )


def test_a_device_leaves_out_accelerators_of_later_layers_only() -> None:
    amd = SpecLayer("profile amd", {"resources": {"limits": {"amd.com/gpu": "1"}}})
    cpu = SpecLayer("profile cpu", {"device": "cpu"})
    assert requested(complete({"model": "acme/gpu"}, KNOWN, [amd, cpu]).spec) == ["amd.com/gpu"]
    done = complete({"model": "acme/gpu"}, KNOWN, [cpu, amd])
    assert requested(done.spec) == []
    assert done.notes == tuple(
        f"{name} left out: the profile cpu requires device cpu"
        for name in ("nvidia.com/gpu of the catalog", "amd.com/gpu of the profile amd")
    )
    assert requested(completed({"device": "cpu"}, resources=GPU).spec) == ["nvidia.com/gpu"]
    # For accelerators the catalog is the last layer.
    done = completed(dict(amd.fields), "acme/cpu")
    assert (requested(done.spec), done.spec.device) == (["amd.com/gpu"], "cpu")


def test_other_resources_of_a_layer_stay_without_its_accelerators() -> None:
    fpga = {"limits": {"example.com/fpga": "1", "amd.com/gpu": "1", "cpu": "2"}}
    done = completed({"resources": fpga}, "acme/small", device="cpu")
    assert done.spec.resources.limits == {"cpu": "2", "example.com/fpga": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"resources": GPU}, "auto"),
        ({"resources": {"limits": {"gpu.intel.com/i915": 1}}}, "gpu"),
        ({"resources": {"limits": {"npu.intel.com/accel": 1}}}, "npu"),
        ({"resources": {"limits": {"gpu.intel.com/i915": 0}}}, "auto"),
        ({"devices": [{"class": "gpu.intel.com"}]}, "gpu"),
        ({"device": "cpu", "resources": {"limits": {"gpu.intel.com/i915": 1}}}, "cpu"),
    ],
)
def test_an_intel_device_is_used_where_it_is_requested(
    fields: dict[str, Any], expected: str
) -> None:
    assert device(ModelSpec.model_validate({"model": "m", **fields})) == expected
