"""Which models stop for one that fits nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.decide.scaling.neighbours import Candidate, Neighbours
from fleet_operator.decide.yielding.room import Room, make
from fleet_operator.resources.views import NodeView, PodView
from fleet_operator.timestamps import render
from support.operator_objects import NOW, node, pod

GPU = {"nvidia.com/gpu": "1"}


def runs(name: str, on: str = "node-a", requests: Any = None, **fields: Any) -> Candidate:
    """A ready model with one server, idle for 100 s and allowed to yield, unless stated."""
    view = PodView.parse(pod(name, node=on, ready=True, requests=requests or {"cpu": "4"}))
    given = {"priority": 0, "active": NOW - 100, "yields_at": NOW - 10, "busy": False,
             "pods": (view,), **fields}  # fmt: skip
    return Candidate(f"ns/{name}", **given)


def room(
    *candidates: Candidate,
    nodes: tuple[NodeView, ...] = (),
    leaving: tuple[PodView, ...] = (),
    priority: int = 0,
    requests: dict[str, str] | None = None,
    **pod_spec: Any,
) -> Room:
    """The room for a pod of 4 CPUs on nodes of 8, each filled by what is left of its models."""
    nodes = nodes or (node("node-a"),)
    used = {each.name: {"cpu": 8000, "pods": 2000, "nvidia.com/gpu": 1000} for each in nodes}
    container = {"name": "server", "resources": {"requests": requests or {"cpu": "4"}}}
    spec = {"containers": [container], **pod_spec}
    return make(spec, priority, Cluster(nodes, used), Neighbours(candidates, leaving), NOW)


def test_the_idlest_model_of_the_lowest_priority_stops() -> None:
    recent, idle = runs("recent", active=NOW - 50), runs("idle", active=NOW - 900)
    found = room(recent, idle)
    assert (found.yields, found.at, found.message) == (("ns/idle",), None, "ns/idle stops for it.")
    low = runs("low", priority=-1, active=NOW - 20)
    assert room(recent, idle, low).yields == ("ns/low",)


@pytest.mark.parametrize(
    ("other", "priority", "yields"),
    [
        ({"priority": 1}, 0, ()), ({"priority": 1}, 1, ("ns/other",)),
        ({"priority": 1}, 2, ("ns/other",)), ({"busy": True}, 0, ()),
        ({"yields_at": NOW + 0.1}, 0, ()), ({"yields_at": NOW}, 0, ("ns/other",)),
        ({"requests": {"cpu": "3"}}, 0, ()),  # its place would not do
    ],
)  # fmt: skip
def test_who_may_stop(other: dict[str, Any], priority: int, yields: tuple[str, ...]) -> None:
    assert room(runs("other", **other), priority=priority).yields == yields


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"labels": {"gpu": "l4"}}, {"nodeSelector": {"gpu": "l4"}}),
        ({}, {"nodeSelector": {"gpu": "l4"}}),
        ({"taints": [{"key": "k", "effect": "NoSchedule"}]}, {}),
        ({"cordoned": True}, {}), ({"ready": False}, {}),
    ],
)  # fmt: skip
def test_a_model_does_not_stop_where_the_node_would_not_do(
    fields: dict[str, Any], wanted: dict[str, Any]
) -> None:
    does = wanted == {} or fields.get("labels") == wanted.get("nodeSelector")
    nodes = (node("node-a", **fields),)
    found = room(runs("other"), nodes=nodes, **wanted)
    usable = does and not {"taints", "cordoned", "ready"} & set(fields)
    assert found == (Room(("ns/other",), None, "ns/other stops for it.", 2.0) if usable else Room())


def test_accelerators_are_resources_too() -> None:
    nodes = (node("node-a", **GPU), node("node-b", **GPU))
    cpu, gpu = runs("cpu", active=NOW - 900), runs("gpu", on="node-b", requests={"cpu": "4", **GPU})
    assert room(cpu, gpu, nodes=nodes, requests=GPU).yields == ("ns/gpu",)
    assert room(cpu, gpu, nodes=nodes).yields == ("ns/cpu",)


def test_no_more_models_stop_than_needed_and_only_on_one_node() -> None:
    small = runs("small", requests={"cpu": "1"}, active=NOW - 900)
    assert room(small, runs("big", active=NOW - 60)).yields == ("ns/big",)
    halves = [runs(name, requests={"cpu": "2"}) for name in "ab"]
    assert room(*halves).yields == ("ns/a", "ns/b")
    apart = (runs("a", requests={"cpu": "2"}), runs("b", on="node-b", requests={"cpu": "2"}))
    assert room(*apart, nodes=(node("node-a"), node("node-b"))) == Room()
    # One model is better than two that were idle for longer.
    one = runs("one", on="node-b", active=NOW - 60)
    assert room(*halves, one, nodes=(node("node-a"), node("node-b"))).yields == ("ns/one",)


def test_only_the_servers_on_the_node_count() -> None:
    both = runs("both", requests={"cpu": "2"})
    pods = (*both.pods, PodView.parse(pod("x", node="node-b", ready=True, requests={"cpu": "2"})))
    spread = runs("both", pods=pods)
    assert room(spread, nodes=(node("node-a"), node("node-b"))) == Room()


def test_servers_that_leave_make_room_first() -> None:
    gone = PodView.parse(pod("gone", ready=True, requests={"cpu": "4"}))
    found = room(runs("other"), leaving=(gone,))
    assert (found.yields, found.requeue_after) == ((), 2.0)
    assert found.message == "Servers that are being stopped make room."


def test_nothing_stops_where_there_is_room_already() -> None:
    assert room(runs("other"), requests={"memory": "1Gi"}) == Room()


@pytest.mark.parametrize(
    ("others", "at", "after"),
    [
        ([{"yields_at": NOW + 5}, {"yields_at": NOW + 9}], NOW + 5, 5.0),
        ([{"yields_at": NOW + 0.5}], NOW + 0.5, 2.0),
        ([{"yields_at": NOW + 300}], NOW + 300, 10.0),
        ([{"busy": True, "yields_at": NOW + 30}], NOW + 30, 10.0),
        ([{"busy": True, "yields_at": NOW - 1}], NOW, 2.0),
        ([{"priority": 1}], None, 10.0),
        # Both are needed: the later one counts.
        ([{"requests": {"cpu": "2"}, "yields_at": NOW + 5}, {"requests": {"cpu": "2"}}],
         NOW + 5, 5.0),
    ],
)  # fmt: skip
def test_when_a_model_may_stop_later(
    others: list[dict[str, Any]], at: float | None, after: float
) -> None:
    found = room(*(runs(f"m{i}", **fields) for i, fields in enumerate(others)))
    assert (found.yields, found.at, found.requeue_after) == ((), at, after)
    assert found.message == (
        "" if at is None else f"The next model may stop for it at {render(at)}."
    )
