"""The toleration that comes with an accelerator."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.resources.tolerations import with_accelerators

NVIDIA = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
AMD = {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
OTHER = {"key": "team", "operator": "Equal", "value": "a"}


def pod(*resources: dict[str, Any], **fields: Any) -> dict[str, Any]:
    containers = [{"name": f"c{i}", "resources": each} for i, each in enumerate(resources)]
    return {"containers": containers, **fields}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"limits": {"nvidia.com/gpu": "1"}}, [NVIDIA]),
        ({"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}, [NVIDIA]),
        ({"limits": {"nvidia.com/mig-1g.10gb": "1"}}, [NVIDIA]),
        ({"limits": {"amd.com/gpu": "1"}}, [AMD]),
        ({"limits": {"amd.com/gpu": "1", "nvidia.com/gpu": "1"}}, [AMD, NVIDIA]),
        ({"limits": {"nvidia.com/gpu": "0"}}, None),
        ({"limits": {"example.com/fpga": "1"}}, None),
        ({"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}, None),
        ({}, None),
    ],
)
def test_by_resource(resources: dict[str, Any], expected: list[Any] | None) -> None:
    assert with_accelerators(pod(resources)).get("tolerations") == expected


@pytest.mark.parametrize(
    "present",
    [
        NVIDIA,
        {"operator": "Exists"},
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        {"operator": "Exists", "effect": "NoSchedule"},
    ],
)
def test_one_that_covers_the_taint_is_enough(present: dict[str, Any]) -> None:
    asking = pod({"limits": {"nvidia.com/gpu": "1"}}, tolerations=[present])
    assert with_accelerators(asking) == asking


@pytest.mark.parametrize(
    "present",
    [
        OTHER,
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "a100", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"},
    ],
)
def test_others_stay_before_it(present: dict[str, Any]) -> None:
    found = with_accelerators(pod({"limits": {"nvidia.com/gpu": "1"}}, tolerations=[present]))
    assert found["tolerations"] == [present, NVIDIA]


def test_any_container_counts() -> None:
    found = with_accelerators(pod({}, {"limits": {"amd.com/gpu": "1"}}))
    assert found["tolerations"] == [AMD]
