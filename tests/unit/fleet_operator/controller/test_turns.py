"""The budget of rollouts, over a cache of several models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.turns import FAILING_SECONDS, RolloutTurns
from fleet_operator.decide.decision import Beginning, Decision
from fleet_operator.decide.rollout_strategy import SURGE, Cluster
from fleet_operator.decide.turn import Turn
from fleet_operator.resources.children import deployment
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.rollout_limit import Limit
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model, node, pod

GPU = {"nvidia.com/gpu": 1000}
BEGINS = Decision({}, begins=Beginning(True, "node-a", GPU, hands_over=False))
HANDS_OVER = Decision({}, begins=Beginning(True, "node-a", GPU, hands_over=True))
WAITS = Decision({}, waits=True)
NOTHING = Decision({})


class Fleet:
    """Models named by letters, with accelerators unless `cpu` is set."""

    def __init__(self, settings: OperatorSettings, sources: Sources, limit: str = "1") -> None:
        self.settings = settings
        self.cache = ClusterCache(settings, Resolver(sources), sees_nodes=True)
        self.woken: list[Key] = []
        self.now = 1000.0
        limits = {True: Limit.parse(limit), False: Limit.parse("0")}
        self.turns = RolloutTurns(self.cache, limits, self._wake, lambda: self.now)
        self._versions = 0

    def _wake(self, keys: Iterable[Key]) -> None:
        self.woken += keys

    def model(self, name: str, applied: str = "1", stable: str = "1", **status: Any) -> Key:
        """A model whose Deployment has version `applied`, while `stable` was ready last."""
        self._versions += 1
        raw = {**model(name, uid=f"uid-{name}"), "spec": {"model": f"org/{name}", "replicas": 1}}
        raw["metadata"] = {**raw["metadata"], "resourceVersion": str(self._versions)}
        raw["status"] = {"rollout": {"stableHash": stable}, **status}
        self.cache.put_model(raw)
        labels = {"modelfleet.dev/template": applied}
        limits = {"limits": {"nvidia.com/gpu": 1}}
        template = {"metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "server", "resources": limits}]}}  # fmt: skip
        child = deployment(raw, template, 1, SURGE, self.settings)
        meta = {**child["metadata"], "uid": f"d-{name}", "resourceVersion": str(self._versions)}
        self.cache.put_child("Deployment", {**child, "metadata": meta})
        return ("ns", name)

    def pod(self, name: str, template: str, **fields: Any) -> dict[str, Any]:
        labels = {"modelfleet.dev/inferencemodel": name}
        raw = pod(f"{name}-{template}", template=template, labels=labels, **fields)
        self.cache.put_pod(raw)
        return raw

    def ahead(self, key: Key) -> tuple[str, ...]:
        return self.turns.of(key).accelerated


@pytest.fixture
def fleet(settings: OperatorSettings, sources: Sources) -> Fleet:
    return Fleet(settings, sources)


def test_one_after_another_in_order(fleet: Fleet) -> None:
    a, b, c = (fleet.model(name) for name in "abc")
    assert fleet.turns.of(a) == Turn()
    fleet.turns.decided(a, BEGINS)
    assert fleet.ahead(b) == ("ns/a",)
    fleet.turns.decided(b, WAITS)
    assert fleet.ahead(c) == ("ns/a", "ns/b")
    fleet.turns.decided(c, WAITS)
    assert fleet.turns.waiting == 2
    assert fleet.turns.of(c).others == ()  # without accelerators there is no limit
    fleet.model("a", applied="2", stable="1")
    fleet.turns.update(a)
    assert fleet.woken == []
    assert fleet.ahead(a) == ()  # its own rollout may change its version
    fleet.model("a", applied="2", stable="2")
    fleet.turns.update(a)
    assert fleet.woken == [b]
    assert fleet.ahead(c) == ("ns/b",)
    assert fleet.ahead(b) == ()
    fleet.turns.decided(b, BEGINS)
    assert fleet.ahead(c) == ("ns/b",)
    assert fleet.turns.waiting == 1


def test_several_at_a_time(settings: OperatorSettings, sources: Sources) -> None:
    fleet = Fleet(settings, sources, "50%")
    keys = [fleet.model(name) for name in "abcd"]
    for key in keys[:2]:
        assert fleet.ahead(key) == ()
        fleet.turns.decided(key, BEGINS)
    assert fleet.ahead(keys[2]) == ("ns/a", "ns/b")


def test_a_rollout_that_could_not_be_applied_ends_at_once(fleet: Fleet) -> None:
    a, b = fleet.model("a"), fleet.model("b")
    fleet.turns.decided(a, BEGINS)
    fleet.turns.decided(b, WAITS)
    fleet.turns.update(a)  # its Deployment still has the version that was ready
    assert fleet.woken == [b]


def test_a_model_that_no_longer_waits_lets_the_next_one_begin(fleet: Fleet) -> None:
    a, b, c = (fleet.model(name) for name in "abc")
    fleet.turns.decided(a, BEGINS)
    fleet.turns.decided(b, WAITS)
    fleet.turns.decided(c, WAITS)
    fleet.turns.forget(a)
    assert fleet.woken == [b]
    fleet.turns.decided(b, NOTHING)  # its change was taken back
    assert fleet.woken == [b, c]
    fleet.turns.decided(c, BEGINS)
    fleet.turns.decided(a, WAITS)
    fleet.turns.decided(b, WAITS)
    fleet.cache.drop_model(fleet.cache.models[a])
    fleet.turns.update(a)
    assert fleet.turns.waiting == 1


def test_rollouts_under_way_at_the_start_count(fleet: Fleet) -> None:
    """The operator was restarted during a hand-over: no server of `a` is left."""
    fleet.model("a", applied="2", stable="1")
    assert fleet.ahead(fleet.model("b")) == ("ns/a",)


def test_a_rollout_that_fails_for_long_lets_others_begin(fleet: Fleet) -> None:
    a, b = fleet.model("a", applied="2", stable="1", phase="Degraded"), fleet.model("b")
    assert fleet.ahead(b) == ("ns/a",)
    fleet.now += FAILING_SECONDS - 1
    assert fleet.ahead(b) == ("ns/a",)
    fleet.now += 1
    assert fleet.ahead(b) == ()
    fleet.model("a", applied="2", stable="1", phase="Progressing", reason="LoadingModel")
    fleet.turns.update(a)
    assert fleet.ahead(b) == ("ns/a",)


def test_the_capacity_of_a_begun_rollout_is_reserved(fleet: Fleet) -> None:
    a, b = fleet.model("a"), fleet.model("b")
    cluster = Cluster([node("node-a")], {"node-a": {"nvidia.com/gpu": 2000}})
    assert fleet.turns.cluster(b, cluster) is cluster
    fleet.turns.decided(a, BEGINS)
    taken = fleet.turns.cluster(b, cluster)
    assert taken is not None
    assert dict(taken.used["node-a"]) == {"nvidia.com/gpu": 3000, "pods": 1000}
    assert cluster.used["node-a"] == {"nvidia.com/gpu": 2000}
    assert fleet.turns.cluster(a, cluster) is cluster
    assert fleet.turns.cluster(b, None) is None
    fleet.model("a", applied="2", stable="1")
    fleet.pod("a", "2", unschedulable="no node")
    fleet.turns.update(a)
    assert fleet.turns.cluster(b, cluster) is not cluster
    fleet.pod("a", "2", node="node-b")  # it counts itself from now on
    fleet.turns.update(a)
    assert fleet.turns.cluster(b, cluster) is cluster


@pytest.mark.parametrize("evicted", [False, True])
def test_what_an_old_server_leaves_is_reserved_for_its_successor(
    fleet: Fleet, evicted: bool
) -> None:
    a, b = fleet.model("a"), fleet.model("b")
    old = fleet.pod("a", "1", ready=True)
    cluster = Cluster([node("node-a")], {})
    fleet.turns.decided(a, HANDS_OVER)
    fleet.model("a", applied="2", stable="1")
    fleet.turns.update(a)
    assert fleet.turns.cluster(b, cluster) is cluster  # the old server counts itself
    if evicted:  # it may exist for long
        fleet.pod("a", "1", phase="Failed", running=False)
    else:
        fleet.cache.drop_pod(old)
    fleet.turns.update(a)
    taken = fleet.turns.cluster(b, cluster)
    assert taken is not None
    assert taken.used["node-a"] == {"nvidia.com/gpu": 1000, "pods": 1000}
