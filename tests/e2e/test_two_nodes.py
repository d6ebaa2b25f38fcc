"""Rollouts without room beside the old server, a drained node and a lost one, all under traffic.

The second node has a network namespace of its own, so that its loss is silent: what is sent to it
gets no response, and what runs on it closes no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import volumes
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.fleet import (
    OPERATORS,
    PAIRS,
    READY_SECONDS,
    ROUTERS,
    SMALL,
    Fleet,
    Traffic,
    is_ready,
    like_minilm,
    names,
    of_model,
)
from harness.models import condition, phase, wait
from harness.netns import Namespace
from harness.node import FIRST, SECOND, Node
from harness.node import is_ready as node_is_ready
from harness.run import Run
from support import waiting

MOVED = {**{of_model(name): 2 for name in PAIRS}, ROUTERS: 2, OPERATORS: 1}
"""Labels of pods with their number; one of each is moved to the second node."""


@pytest.fixture(scope="module")
def second(
    run: Run,
    pod_network: Namespace,
    node_control_plane: ControlPlane,
    node: Node,
    node_api: Api,
    fleet: Fleet,
) -> Iterator[Node]:
    """A second node."""
    made = Node(run, pod_network, node_control_plane, node)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        fleet.kubectl("uncordon", FIRST.name)
        remove(fleet, node_api)


@pytest.fixture
def spread(fleet: Fleet, second: Node) -> None:
    """One server of each pair and one router are on the second node, and the operator as well."""
    fleet.kubectl("cordon", FIRST.name)
    moved = {label: names(fleet.pods(label)[:1]) for label in MOVED}
    fleet.kubectl("delete", "pod", *sorted(set().union(*moved.values())), "--wait=false")
    for label, count in MOVED.items():
        fleet.wait_for_pods(label, count, without=moved[label])
        assert on(fleet, label, SECOND.name)
    fleet.kubectl("uncordon", FIRST.name)


@pytest.fixture
def bound(fleet: Fleet, second: Node, node_api: Api, tmp_path: Path) -> Iterator[list[str]]:
    """Two models that run on the second node only, one server at a time: `apart` keeps away from
    its own pods, `zonal` has a ReadWriteOnce volume there and requests half of the node."""
    volume, claim = volumes.claim("zonal", fleet.tenant.namespace, tmp_path)
    there = {"key": "kubernetes.io/hostname", "operator": "In", "values": [SECOND.name]}
    zone = {"required": {"nodeSelectorTerms": [{"matchExpressions": [there]}]}}
    volume["spec"] |= {"accessModes": ["ReadWriteOnce"], "nodeAffinity": zone}
    claim["spec"]["accessModes"] = ["ReadWriteOnce"]
    mount = {"name": "server", "volumeMounts": [{"name": "zonal", "mountPath": "/zonal"}]}
    source = {"name": "zonal", "persistentVolumeClaim": {"claimName": "zonal"}}
    own = {"matchLabels": {"modelfleet.dev/inferencemodel": "apart"}}
    rule = {"labelSelector": own, "topologyKey": there["key"]}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}
    large = {**SMALL, "requests": {"cpu": "1100m", "memory": "128Mi"}}
    made = [
        node_api.create(volume),
        fleet.tenant.create(claim),
        fleet.tenant.create(like_minilm(
            fleet, "apart", nodeSelector={there["key"]: SECOND.name}, affinity=affinity)),
        fleet.tenant.create(like_minilm(
            fleet, "zonal", resources=large,
            podTemplate={"spec": {"containers": [mount], "volumes": [source]}})),
    ]  # fmt: skip
    yield ["test/apart", "test/zonal"]
    for one in reversed(made):
        node_api.delete(one)


def test_rollouts_without_room_beside_the_old_server(
    fleet: Fleet, traffic: Traffic, bound: list[str]
) -> None:
    """The scheduler refuses the new pods by anti-affinity and by the zone of a volume: after a
    while the old servers leave first, and requests wait in the routers."""
    old = {name: wait(fleet.tenant, name, phase("Ready"), READY_SECONDS) and
           names(fleet.pods(of_model(name))) for name in ("apart", "zonal")}  # fmt: skip
    with traffic(embeddings=bound) as (_, change), change("rollouts"):
        for name in old:
            fleet.patch(name, env={"ROLLED": "out"})
        for name, pods in old.items():
            fleet.wait_for_pods(of_model(name), 1, without=pods)
            assert on(fleet, of_model(name), SECOND.name)
            found = wait(fleet.tenant, name, phase("Ready"))
            assert condition(found, "RolloutStrategy")["reason"] == "SurgeBlocked"


def test_a_drained_node(fleet: Fleet, traffic: Traffic, spread: None) -> None:
    """The pods leave one at a time, as the PodDisruptionBudgets demand, and complete their
    requests."""
    with traffic() as (_, change), change("drain"):
        fleet.kubectl("drain", SECOND.name, "--ignore-daemonsets", "--delete-emptydir-data",
                      f"--timeout={READY_SECONDS:.0f}s", timeout=READY_SECONDS + 20)  # fmt: skip
        for label, count in MOVED.items():
            fleet.wait_for_pods(label, count)
            assert not on(fleet, label, SECOND.name)
    fleet.kubectl("uncordon", SECOND.name)


def test_a_lost_node(
    fleet: Fleet, traffic: Traffic, spread: None, second: Node, node_api: Api
) -> None:
    """Requests that a lost server has not begun to answer are sent to the other one. Router and
    operator are replaced.

    The requests go to the router that stays: those to a lost one cannot be saved.
    """
    (router,) = on(fleet, ROUTERS, FIRST.name)
    url = f"http://{router['status']['podIP']}:{port(router)}"
    with traffic(begun=False, router=url) as (driver, change), change("node lost"):
        driver.wait_for_running(2)
        second.lose()
        waiting.until(lambda: not node_is_ready(node_api, SECOND.name), READY_SECONDS, every=1)
        waiting.until(lambda: replaced(fleet, ROUTERS), READY_SECONDS, every=1)
        waiting.until(lambda: replaced(fleet, OPERATORS), READY_SECONDS, every=1)
    with fleet.client() as client:
        assert client.embeddings.create(model="minilm", input="A cat sits.").data
    remove(fleet, node_api)
    for name in PAIRS:
        fleet.wait_for_pods(of_model(name), 2)


def on(fleet: Fleet, label: str, node: str) -> list[Json]:
    """The pods of a label on a node."""
    return [pod for pod in fleet.pods(label) if pod["spec"].get("nodeName") == node]


def replaced(fleet: Fleet, label: str) -> bool:
    """Whether all pods of a label are on the first node and ready. Those on the lost one are being
    deleted for ever."""
    pods = on(fleet, label, FIRST.name)
    return len(pods) == len(fleet.pods(label)) == MOVED[label] and all(map(is_ready, pods))


def remove(fleet: Fleet, api: Api) -> None:
    """Remove the second node, as a cloud does with a lost one, and the pods that no kubelet will
    end."""
    api.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": SECOND.name}})
    for pod in fleet.tenant.items("v1", "Pod"):
        if pod["spec"].get("nodeName") == SECOND.name:
            api.delete(pod, gracePeriodSeconds="0")


def port(router: Json) -> int:
    """The port of a router's container for requests."""
    ports = router["spec"]["containers"][0]["ports"]
    return next(int(one["containerPort"]) for one in ports if one["name"] == "http")
