"""Which nodes could run a pod."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.decide.capacity import fitting, why_not
from fleet_operator.resources.views import accelerators
from support.operator_objects import node

GPU = "nvidia.com/gpu"


def pod(requests: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "a", "resources": {"requests": requests or {}}}], **fields}


def affinity(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions)}]
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"nodeAffinity": {key: {"nodeSelectorTerms": terms}}}


L4 = node("l4", labels={"gpu": "l4", "count": "4"},
          taints=[{"key": GPU, "value": "yes", "effect": "NoSchedule"}], **{GPU: "1"})  # fmt: skip
TOLERATED = [{"key": GPU, "operator": "Exists"}]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (pod(), "has the taint nvidia.com/gpu=yes:NoSchedule"),
        (pod(tolerations=TOLERATED), None),
        (pod(tolerations=[{"operator": "Exists"}]), None),
        (pod(tolerations=[{"key": GPU, "value": "yes", "effect": "NoSchedule"}]), None),
        (pod(tolerations=[{"key": GPU, "value": "no"}]),
         "has the taint nvidia.com/gpu=yes:NoSchedule"),
        (pod(tolerations=[{"key": GPU, "operator": "Exists", "effect": "NoExecute"}]),
         "has the taint nvidia.com/gpu=yes:NoSchedule"),
        (pod(tolerations=TOLERATED, nodeSelector={"gpu": "h100"}), "lacks the label gpu=h100"),
        (pod({GPU: "1"}, tolerations=TOLERATED, nodeSelector={"gpu": "l4"}), None),
        (pod({GPU: "2"}, tolerations=TOLERATED),
         "has 1 nvidia.com/gpu free of the requested 2 nvidia.com/gpu"),
        (pod({"memory": "64Gi"}, tolerations=TOLERATED),
         "has 32.0 GiB memory free of the requested 64.0 GiB memory"),
        (pod(tolerations=TOLERATED, affinity=affinity(
            {"key": "gpu", "operator": "In", "values": ["l4", "a10"]},
            {"key": "count", "operator": "Gt", "values": ["3"]})), None),
        (pod(tolerations=TOLERATED, affinity=affinity(
            {"key": "gpu", "operator": "NotIn", "values": ["l4"]})),
         "does not match the required node affinity"),
        (pod(tolerations=TOLERATED, affinity=affinity({"key": "x", "operator": "Exists"})),
         "does not match the required node affinity"),
        (pod(tolerations=TOLERATED, affinity=affinity({"key": "x", "operator": "DoesNotExist"})),
         None),
        (pod(tolerations=TOLERATED, affinity=affinity(
            {"key": "count", "operator": "Lt", "values": ["4"]})),
         "does not match the required node affinity"),
    ],
)  # fmt: skip
def test_one_node(spec: dict[str, Any], why: str | None) -> None:
    assert why_not(spec, L4, {}) == why


def test_what_is_used_is_not_free() -> None:
    used = {GPU: 1000, "pods": 1000}
    assert why_not(pod({GPU: "1"}, tolerations=TOLERATED), L4, used) == (
        "has 0 nvidia.com/gpu free of the requested 1 nvidia.com/gpu"
    )
    assert why_not(pod(tolerations=TOLERATED), L4, {"pods": 10_000}) == (
        "has 0 pods free of the requested 1 pods"
    )


@pytest.mark.parametrize("fields", [{"ready": False}, {"cordoned": True}])
def test_nodes_that_take_nothing(fields: dict[str, bool]) -> None:
    assert why_not(pod(), node(**fields), {}) == "is cordoned or not ready"


def test_preferences_do_not_exclude() -> None:
    taints = [{"key": "spot", "value": "yes", "effect": "PreferNoSchedule"}]
    assert fitting(pod(), [node("a", taints=taints), node("b", ready=False)], {}) == ["a"]


def test_init_containers_and_sidecars_count_as_the_scheduler_counts() -> None:
    spec = {
        "containers": [{"name": "a", "resources": {"limits": {GPU: "1", "cpu": "1"}}}],
        "initContainers": [
            {"name": "b", "resources": {"requests": {"cpu": "4"}}},
            {"name": "c", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}},
        ],
        "overhead": {"cpu": "250m"},
    }
    assert accelerators(spec) == {GPU: 1000}
    big = node(cpu="4250m", **{GPU: "1"})
    assert why_not(spec, big, {}) is None
    assert why_not(spec, node(cpu="4", **{GPU: "1"}), {}) == (
        "has 4 cpu free of the requested 4250m cpu"
    )


@pytest.mark.parametrize(
    ("tolerations", "why"),
    [
        ([], "has the taint down=:NoExecute"),
        ([{"key": "down", "operator": "Exists", "effect": "NoExecute"}], None),
        ([{"key": "down", "operator": "Exists", "effect": ""}], None),
        ([{"key": "down", "operator": "Exists", "effect": "NoSchedule"}],
         "has the taint down=:NoExecute"),
    ],
)  # fmt: skip
def test_a_taint_that_evicts_keeps_pods_away_too(
    tolerations: list[dict[str, str]], why: str | None
) -> None:
    tainted = node(taints=[{"key": "down", "effect": "NoExecute"}])
    assert why_not(pod(tolerations=tolerations), tainted, {}) == why
