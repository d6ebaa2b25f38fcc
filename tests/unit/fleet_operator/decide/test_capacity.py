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


def test_used_resources_are_not_free() -> None:
    used = {GPU: 1000, "pods": 1000}
    assert why_not(pod({GPU: "1"}, tolerations=TOLERATED), L4, used) == (
        "has 0 nvidia.com/gpu free of the requested 1 nvidia.com/gpu"
    )
    assert why_not(pod(tolerations=TOLERATED), L4, {"pods": 10_000}) == (
        "has 0 pods free of the requested 1 pods"
    )


@pytest.mark.parametrize("fields", [{"ready": False}, {"cordoned": True}])
def test_cordoned_and_unready_nodes_are_excluded(fields: dict[str, bool]) -> None:
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


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "key": ""}, True),
        ({"operator": "Exists", "key": "a"}, True),
        ({"operator": "Exists", "key": "b"}, False),
        ({"operator": "Exists", "key": "a", "effect": "NoSchedule"}, True),
        ({"operator": "Exists", "key": "a", "effect": ""}, True),
        ({"operator": "Exists", "key": "a", "effect": "NoExecute"}, False),
        ({"key": "a", "value": "1"}, True),
        ({"operator": "Equal", "key": "a", "value": "1"}, True),
        ({"operator": "Equal", "key": "a", "value": "2"}, False),
        ({"operator": "Equal", "key": "b", "value": "1"}, False),
        ({"operator": "Equal", "key": "a"}, False),
        ({"operator": "Equal", "key": "a", "value": "1", "effect": "NoExecute"}, False),
        ({"operator": "Equal", "value": "1"}, False),
        ({"operator": "Lt", "key": "a", "value": "1"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerates: bool) -> None:
    tainted = node(taints=[{"key": "a", "value": "1", "effect": "NoSchedule"}])
    why = why_not(pod(tolerations=[{"key": "other"}, toleration]), tainted, {})
    assert why == (None if tolerates else "has the taint a=1:NoSchedule")


def test_a_taint_without_a_value_is_tolerated_by_a_toleration_without_one() -> None:
    tainted = node(taints=[{"key": "a", "effect": "NoSchedule"}])
    assert why_not(pod(tolerations=[{"key": "a"}]), tainted, {}) is None
    assert why_not(pod(tolerations=[{"key": "a", "value": "1"}]), tainted, {}) == (
        "has the taint a=:NoSchedule"
    )


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"key": "n", "operator": "In", "values": ["4"]}, True),
        ({"key": "n", "operator": "In", "values": ["5"]}, False),
        ({"key": "n", "operator": "In"}, False),
        ({"key": "x", "operator": "NotIn", "values": ["4"]}, True),
        ({"key": "n", "operator": "NotIn", "values": ["4"]}, False),
        ({"key": "n", "operator": "Exists"}, True),
        ({"key": "x", "operator": "Exists"}, False),
        ({"key": "n", "operator": "DoesNotExist"}, False),
        ({"key": "x", "operator": "DoesNotExist"}, True),
        ({"key": "n", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "n", "operator": "Gt", "values": ["4"]}, False),
        ({"key": "n", "operator": "Lt", "values": ["5"]}, True),
        ({"key": "n", "operator": "Lt", "values": ["4"]}, False),
        ({"key": "x", "operator": "Gt", "values": ["-1"]}, False),
        ({"key": "x", "operator": "Lt", "values": ["1"]}, False),
        ({"key": "word", "operator": "Lt", "values": ["1"]}, False),
        ({"key": "word", "operator": "Gt", "values": ["-1"]}, False),
        ({"key": "n", "operator": "Near", "values": ["4"]}, False),
    ],
)
def test_rules_of_node_affinity(rule: dict[str, Any], matches: bool) -> None:
    found = why_not(pod(affinity=affinity(rule)), node(labels={"n": "4", "word": "x"}), {})
    assert (found is None) is matches


def test_all_rules_of_a_term_and_one_of_the_terms_must_match() -> None:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    right = {"matchExpressions": [{"key": "n", "operator": "Exists"}]}
    wrong = {"matchExpressions": [*right["matchExpressions"], {"key": "x", "operator": "Exists"}]}
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-a"]}]}
    there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-b"]}]}
    for terms, fits in (([wrong], False), ([wrong, right], True), ([{}], False), ([here], True),
                        ([there], False), ([], False), ([{**right, **there}], False)):  # fmt: skip
        spec = pod(affinity={"nodeAffinity": {key: {"nodeSelectorTerms": terms}}})
        assert (why_not(spec, node(labels={"n": "4"}), {}) is None) is fits, terms


def test_amounts_that_just_fit() -> None:
    for used, fits in ((9000, True), (9001, False)):
        assert (why_not(pod(), node(), {"pods": used}) is None) is fits
    assert why_not(pod({"cpu": "8"}), node(), {}) is None
    assert why_not(pod({"cpu": "8001m"}), node(), {}) == (
        "has 8 cpu free of the requested 8001m cpu"
    )
    assert why_not(pod({"cpu": "8"}), node(), {"cpu": 9000}) == (
        "has 0 cpu free of the requested 8 cpu"
    )
    assert why_not(pod({GPU: "1"}), node(), {}) == (
        "has 0 nvidia.com/gpu free of the requested 1 nvidia.com/gpu"
    )
