"""Traffic groups: who belongs to one, and which member serves a session."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from fleet_contract.spec import ModelSpec, Task
from fleet_contract.status import Phase
from fleet_router.routing.groups import member_for, weight_of
from fleet_router.routing.table import Change, Endpoint, Origin, Route, RouteTable

SESSIONS = [f"session-{number}" for number in range(2000)]


def member(
    model: str,
    weight: int = 0,
    group: str | None = "org/chat",
    *,
    aliases: tuple[str, ...] = (),
    namespace: str = "ns",
    task: Task = Task.CHAT,
) -> Route:
    traffic = {"group": group, "weight": weight} if group is not None else None
    spec = ModelSpec.model_validate(
        {"model": model, "aliases": list(aliases), "traffic": traffic, "task": task}
    )
    return Route(spec, (Endpoint(model, "10.0.0.1", 8000),), origin=Origin(namespace, model))


def served(table: RouteTable, name: str = "org/chat") -> Counter[str]:
    route = table.by_id[name]
    return Counter(member_for(table, route, name, session).model for session in SESSIONS)


@pytest.mark.parametrize("weight", [0, 1, 10, 50, 99, 100])
def test_a_canary_gets_its_percentage_of_the_sessions(weight: int) -> None:
    found = served(RouteTable.build([member("org/chat"), member("new", weight)]))
    assert found["new"] / len(SESSIONS) == pytest.approx(weight / 100, abs=0.02)
    assert found["org/chat"] == len(SESSIONS) - found["new"]


def test_a_session_stays_with_its_member() -> None:
    table = RouteTable.build([member("org/chat"), member("new", 30)])
    assert served(table) == served(table)
    again = RouteTable.build([member("new", 30), member("org/chat")])
    assert [member_for(table, table.by_id["org/chat"], "org/chat", session).model
            for session in SESSIONS] == [
        member_for(again, again.by_id["org/chat"], "org/chat", session).model
        for session in SESSIONS]  # fmt: skip


def test_a_weight_that_rises_moves_sessions_in_one_direction() -> None:
    before: set[str] = set()
    for weight in (5, 20, 60, 100):
        table = RouteTable.build([member("org/chat"), member("new", weight)])
        primary = table.by_id["org/chat"]
        moved = {session for session in SESSIONS
                 if member_for(table, primary, "org/chat", session).model == "new"}  # fmt: skip
        assert before < moved
        before = moved


def test_weights_of_several_members_are_scaled_down_to_the_whole() -> None:
    found = served(RouteTable.build([member("org/chat"), member("a", 100), member("b", 100)]))
    assert found["a"] / len(SESSIONS) == pytest.approx(0.5, abs=0.03)
    assert found["org/chat"] == 0


def test_the_group_may_be_an_alias_of_the_primary() -> None:
    table = RouteTable.build([member("old", group="chat", aliases=("chat",)),
                              member("new", 100, group="chat")])  # fmt: skip
    assert served(table, "chat") == {"new": len(SESSIONS)}
    assert served(table, "old") == {"old": len(SESSIONS)}
    assert served(table, "new") == {"new": len(SESSIONS)}


@pytest.mark.parametrize(
    ("primary", "other"),
    [
        (member("org/chat"), member("new", 100, namespace="other")),
        (member("org/chat"), member("new", 100, task=Task.EMBEDDING)),
        (member("org/chat"), member("new", 100, group="another")),
        (member("org/chat"), member("new", 100, group=None)),
        (member("org/chat", group=None), member("new", 100)),
        (member("org/chat", group="another"), member("new", 100)),
    ],
    ids=["namespace", "task", "group", "no group", "primary without a group", "primary of another"],
)
def test_others_take_no_requests(primary: Route, other: Route) -> None:
    assert served(RouteTable.build([primary, other])) == {"org/chat": len(SESSIONS)}


@pytest.mark.parametrize(
    ("phase", "serves"),
    [(Phase.PENDING, False), (Phase.FAILED, False), (Phase.STOPPED, False),
     (Phase.SCALED_TO_ZERO, True), (None, False)],
)  # fmt: skip
def test_a_member_without_servers_gives_its_share_to_the_primary(
    phase: Phase | None, serves: bool
) -> None:
    canary = replace(member("new", 100), endpoints=(), phase=phase)
    found = served(RouteTable.build([member("org/chat"), canary]))
    assert found == {"new" if serves else "org/chat": len(SESSIONS)}


def test_requests_without_a_model_are_not_divided() -> None:
    table = RouteTable.build([member("org/chat"), member("new", 100)])
    assert member_for(table, table.by_id["org/chat"], None, "s").model == "org/chat"


def test_a_member_that_leaves_its_group_does_not_end_it() -> None:
    routes = [member("org/chat"), member("new", 30), member("newer", 20)]
    table = RouteTable.build(routes)
    table.apply(Change([routes[2]], ()))
    assert set(served(table)) == {"org/chat", "new"}
    table.apply(Change([routes[1]], ()))
    assert set(served(table)) == {"org/chat"}
    table.apply(Change([routes[0]], ()))
    assert not table._groups  # names of groups that are gone are not kept


def test_a_route_without_a_group_has_no_weight() -> None:
    assert (weight_of(member("m", group=None)), weight_of(member("m", 7))) == (0, 7)


@pytest.mark.parametrize(("replicas", "cluster", "stopped"),
                         [(0, False, True), (1, False, False), (0, True, False)])  # fmt: skip
def test_zero_replicas_are_a_stop_without_a_cluster(
    replicas: int, cluster: bool, stopped: bool
) -> None:
    spec = ModelSpec(model="m", replicas=replicas)
    assert Route(spec, origin=Origin("ns", "m") if cluster else None).stopped is stopped


def test_limits_of_one_task_and_of_all() -> None:
    chat, other = member("a"), member("b", task=Task.EMBEDDING, group=None)
    table = RouteTable.build([chat, other])
    assert len(table.body_limits(Task.CHAT)) == len(table.body_limits(Task.EMBEDDING)) == 1
    assert table.body_limits(None) == {
        *table.body_limits(Task.CHAT),
        *table.body_limits(Task.EMBEDDING),
    }
