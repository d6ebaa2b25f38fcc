"""The memory limit of servers that have none."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.resources.estimate import GIB
from fleet_operator.resources.memory_limit import with_memory_limit


def limited(resources: dict[str, Any] | None, factor: float = 2, name: str = "server") -> Any:
    container = {"name": name, **({"resources": resources} if resources is not None else {})}
    return with_memory_limit({"containers": [container]}, 3 * GIB, factor)["containers"][0]


@pytest.mark.parametrize(
    ("resources", "requested", "limit"),
    [
        (None, "128Mi", "6Gi"),
        ({}, "128Mi", "6Gi"),
        ({"limits": None}, "128Mi", "6Gi"),
        ({"requests": {"memory": "1Gi"}}, "1Gi", "6Gi"),
        ({"requests": {"memory": "8Gi"}}, "8Gi", "16Gi"),
        ({"requests": {"memory": 8 * GIB + 1}}, 8 * GIB + 1, "17Gi"),
    ],
)
def test_a_limit_is_a_multiple_of_the_request(
    resources: dict[str, Any] | None, requested: Any, limit: str
) -> None:
    found = limited(resources)["resources"]
    assert (found["requests"]["memory"], found["limits"]["memory"]) == (requested, limit)


def test_other_resources_are_kept() -> None:
    found = limited({"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "1"}})["resources"]
    assert found == {
        "requests": {"cpu": "1", "memory": "128Mi"},
        "limits": {"nvidia.com/gpu": "1", "memory": "6Gi"},
    }


def test_a_limit_that_is_set_is_kept() -> None:
    resources = {"limits": {"memory": "1Gi"}}
    assert limited(resources)["resources"] == resources


def test_without_a_factor_there_is_no_limit() -> None:
    assert limited({}, factor=0)["resources"] == {}


def test_other_containers_are_not_changed() -> None:
    assert limited({}, name="sidecar")["resources"] == {}


def test_a_request_with_an_invalid_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="'much' is not a quantity"):
        limited({"requests": {"memory": "much"}})
