"""Models that stop for others, over a cache of several models."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.api.load_report import ReportedLoad
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.demand.yields import Yields
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.rollout_strategy import SURGE
from fleet_operator.decide.scaling.load import FleetLoad, RouterLoad
from fleet_operator.resources.children import deployment
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import NOW, model, pod


class Fleet:
    """Models named by letters."""

    def __init__(self, settings: OperatorSettings, sources: Sources) -> None:
        self.settings = settings
        self.cache = ClusterCache(settings, Resolver(sources), sees_nodes=True)
        self.forbidden: set[str] = set()
        self.yields = Yields(self.cache, lambda namespace: namespace not in self.forbidden)
        self.loads()

    def model(self, name: str, replicas: int = 1, status: Any = None, **spec: Any) -> Key:
        """A model with one ready pod."""
        raw = model(name, uid=f"uid-{name}", **{"model": f"org/{name}", **spec})
        raw["status"] = status or {"scaling": {"desiredReplicas": replicas}}
        self.cache.put_model(raw)
        labels = {"modelfleet.dev/inferencemodel": name}
        own = {**labels, "modelfleet.dev/template": "1"}
        template = {"metadata": {"labels": own}, "spec": {"containers": []}}
        child = deployment(raw, template, replicas, SURGE, self.settings)
        meta = {**child["metadata"], "uid": f"d-{name}", "resourceVersion": "1"}
        self.cache.put_child("Deployment", {**child, "metadata": meta})
        self.cache.put_pod(pod(name, ready=True, labels=labels))
        return ("ns", name)

    def loads(self, **in_flight: int) -> None:
        report = {f"org/{name}": ReportedLoad(number, 0.0) for name, number in in_flight.items()}
        self.cache.load = FleetLoad({"uid-router": RouterLoad(report, NOW)})

    def candidates(self, key: Key = ("ns", "w")) -> dict[str, bool]:
        """Whether each candidate is busy."""
        found = self.yields.neighbours(key).candidates
        return {each.name: each.busy for each in found}


@pytest.fixture
def fleet(settings: OperatorSettings, sources: Sources) -> Fleet:
    return Fleet(settings, sources)


def test_models_with_the_field_are_candidates_for_others(fleet: Fleet) -> None:
    a, _ = fleet.model("a", yieldsAfter=5), fleet.model("b")
    fleet.model("w", yieldsAfter=5)
    assert fleet.candidates() == {"ns/a": False}
    assert fleet.candidates(a) == {"ns/w": False}
    fleet.loads(a=1)
    assert fleet.candidates() == {"ns/a": True}


def test_requests_of_a_model_count_for_its_fallback(fleet: Fleet) -> None:
    fleet.model("a", yieldsAfter=5)
    fleet.model("b", fallback="org/a")
    fleet.loads(b=1)
    assert fleet.candidates() == {"ns/a": True}


def test_models_of_namespaces_that_others_serve_are_left_alone(fleet: Fleet) -> None:
    fleet.model("a", yieldsAfter=5)
    fleet.forbidden = {"ns"}
    assert fleet.candidates() == {}


def test_servers_that_leave_are_those_of_models_scaled_to_zero(fleet: Fleet) -> None:
    fleet.model("a", replicas=0)
    yielded = {"desiredReplicas": 0, "reason": "Yielded", "yieldedTo": "ns/x"}
    fleet.model("b", replicas=0, status={"scaling": yielded})
    fleet.model("c")
    fleet.model("d", replicas=0, status={"phase": "Ready"}, stopped=True)
    assert [one.name for one in fleet.yields.neighbours(("ns", "w")).leaving] == ["a", "d"]
    assert [one.name for one in fleet.yields.neighbours(("ns", "x")).leaving] == ["a", "b", "d"]


def test_whether_the_model_that_room_was_made_for_waits_for_a_node(fleet: Fleet) -> None:
    yielded = {"desiredReplicas": 0, "reason": "Yielded", "yieldedTo": "ns/w"}
    a = fleet.model("a", replicas=0, status={"scaling": yielded})
    assert not fleet.yields.is_unplaced(a)
    labels = {"modelfleet.dev/inferencemodel": "w"}
    for fields, waits in (
        ({"unschedulable": "0/1 nodes"}, True),
        ({"unschedulable": "0/1 nodes", "deleting": True}, False),
        ({}, False),
    ):
        fleet.cache.put_pod(pod("w", labels=labels, **fields))
        assert fleet.yields.is_unplaced(a) is waits
    assert not fleet.yields.is_unplaced(fleet.model("b"))


def test_an_order_holds_for_one_decision(fleet: Fleet) -> None:
    a, w = fleet.model("a", yieldsAfter=5), fleet.model("w")
    assert fleet.yields.decided(w, Decision({}, yields=("ns/a",))) == [a]
    assert fleet.yields.decided(w, Decision({})) == []
    assert [fleet.yields.take(a), fleet.yields.take(a)] == ["ns/w", ""]


def test_an_order_whose_decision_could_not_be_written_holds_for_the_next(fleet: Fleet) -> None:
    a = fleet.model("a", yieldsAfter=5)
    fleet.yields.restore(a, "")
    assert fleet.yields.take(a) == ""
    fleet.yields.restore(a, "ns/w")
    assert fleet.yields.take(a) == "ns/w"
    fleet.yields.decided(("ns", "x"), Decision({}, yields=("ns/a",)))
    fleet.yields.restore(a, "ns/w")
    assert fleet.yields.take(a) == "ns/x"  # the newer one
