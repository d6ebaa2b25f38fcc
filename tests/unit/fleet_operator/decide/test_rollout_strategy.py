"""Surge or hand-over, chosen from nodes and pods."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.spec_parts import RolloutMode
from fleet_operator.decide.rollout_strategy import HAND_OVER, SURGE, Cluster, choose
from fleet_operator.resources.views import PodView
from fleet_operator.resources.volume_access import Pinned
from support.operator_objects import node, pod

GPU = "nvidia.com/gpu"


def requesting(gpus: int = 1, **fields: Any) -> dict[str, Any]:
    limits = {GPU: str(gpus)} if gpus else {}
    return {"containers": [{"name": "server", "resources": {"limits": limits}}], **fields}


def old(node_name: str = "a", gpus: int = 1) -> PodView:
    return PodView.parse(pod(node=node_name, ready=True, requests={GPU: str(gpus)}))


def cluster(free: int, **others: int) -> Cluster:
    """Node `a` with two GPUs, `free` of them free, and nodes with as many free GPUs."""
    nodes = [node("a", **{GPU: "2"}), *(node(name, **{GPU: str(n)}) for name, n in others.items())]
    return Cluster(nodes, {"a": {GPU: (2 - free) * 1000, "pods": 2000}})


@pytest.mark.parametrize(
    ("spec", "olds", "where", "strategy", "reason"),
    [
        (requesting(), [], cluster(0), SURGE, "FirstVersion"),
        (requesting(), [old()], cluster(1), SURGE, "FreeCapacity"),
        (requesting(), [old()], cluster(0), HAND_OVER, "NoFreeCapacity"),
        (requesting(), [old()], cluster(0, b=1), SURGE, "FreeCapacity"),
        (requesting(2), [old()], cluster(1), HAND_OVER, "NoFreeCapacity"),
        (requesting(3), [old()], cluster(0), SURGE, "FitsNowhere"),
        (requesting(nodeSelector={"gpu": "h100"}), [old()], cluster(1), SURGE, "FitsNowhere"),
        (requesting(0), [old()], cluster(0), SURGE, "FreeCapacity"),
        (requesting(), [old()], None, HAND_OVER, "CapacityUnknown"),
        (requesting(0), [old()], None, SURGE, "CapacityUnknown"),
        (requesting(), [old("")], cluster(0), SURGE, "FitsNowhere"),
    ],
)
def test_choice(
    spec: dict[str, Any], olds: list[PodView], where: Cluster | None, strategy: Any, reason: str
) -> None:
    found = choose(spec, olds, where)
    assert (found.strategy, found.reason) == (strategy, reason)


def test_the_message_names_the_accelerator_resource() -> None:
    assert choose(requesting(), [old()], cluster(1)).message == "Node a has 1 nvidia.com/gpu free."


def test_a_hand_over_is_for_a_node_where_an_old_server_runs() -> None:
    """The resources of one old server are free afterwards, and its slot among the pods."""
    full = Cluster([node("a", pods="1", **{GPU: "1"})], {"a": {GPU: 1000, "pods": 1000}})
    found = choose(requesting(), [old()], full)
    assert (found.strategy, found.reason) == (HAND_OVER, "NoFreeCapacity")
    assert found.message == (
        "No node has 1 nvidia.com/gpu free: each old server is stopped before its successor starts."
    )
    more = Cluster([node("a", pods="1", **{GPU: "1"})], {"a": {GPU: 1000, "pods": 2000}})
    assert choose(requesting(), [old()], more).reason == "FitsNowhere"
    unknown = Cluster([node("a", **{GPU: "1"})], {})
    assert choose(requesting(2), [old()], unknown).reason == "NoFreeCapacity"
    assert choose(requesting(0), [old()], cluster(1)).message == "Node a has capacity free."


def test_any_of_the_old_servers_may_make_room() -> None:
    where = cluster(0, b=1)
    where = Cluster(where.nodes, {**where.used, "b": {GPU: 1000, "pods": 1000}})
    spec = requesting(nodeSelector={"kubernetes.io/hostname": "b"})
    nodes = [node("a", **{GPU: "2"}), node("b", labels=spec["nodeSelector"], **{GPU: "1"})]
    found = choose(spec, [old("a"), old("b")], Cluster(nodes, where.used))
    assert found.reason == "NoFreeCapacity"


CLAIM = {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]}


def test_claims_of_devices_count_as_accelerators() -> None:
    found = choose(requesting(0, **CLAIM), [old()], None)
    assert (found.strategy, found.reason) == (HAND_OVER, "CapacityUnknown")
    found = choose(requesting(0, **CLAIM), [old()], cluster(0))
    assert (found.strategy, found.reason, found.node) == (SURGE, "CapacityUnknown", "a")
    full = Cluster([node("a", pods="1", **{GPU: "1"})], {"a": {GPU: 1000, "pods": 1000}})
    assert choose(requesting(0, **CLAIM), [old()], full).reason == "NoFreeCapacity"


@pytest.mark.parametrize("where", [cluster(0), cluster(1), None])
def test_a_requested_strategy_is_used_whatever_the_capacity(where: Cluster | None) -> None:
    for mode, strategy in ((RolloutMode.SURGE, SURGE), (RolloutMode.HAND_OVER, HAND_OVER)):
        found = choose(requesting(), [old()], where, mode)
        assert (found.strategy, found.reason) == (strategy, "Requested")
        assert mode.value in found.message


ONE_NODE, ONE_POD = Pinned("c", to_one_pod=False), Pinned("c", to_one_pod=True)


@pytest.mark.parametrize(
    ("volume", "where", "strategy", "reason"),
    [
        (ONE_NODE, cluster(1), SURGE, "FreeCapacity"),  # only the node that has the volume
        (ONE_NODE, cluster(1, b=1), HAND_OVER, "VolumeInUse"),
        (ONE_NODE, cluster(0, b=1), HAND_OVER, "VolumeInUse"),
        (ONE_NODE, cluster(0), HAND_OVER, "NoFreeCapacity"),
        (ONE_POD, cluster(1), HAND_OVER, "VolumeInUse"),
        (ONE_POD, None, HAND_OVER, "VolumeInUse"),
    ],
)
def test_a_volume_for_one_node(
    volume: Pinned, where: Cluster | None, strategy: Any, reason: str
) -> None:
    found = choose(requesting(), [old()], where, pinned=volume)
    assert (found.strategy, found.reason) == (strategy, reason)
    assert choose(requesting(0), [old()], None, pinned=ONE_NODE).strategy == SURGE


def test_the_choice_names_the_node_that_it_counts_on() -> None:
    assert choose(requesting(), [old()], cluster(0, b=1)).node == "b"
    assert choose(requesting(), [old()], cluster(0)).node == "a"
