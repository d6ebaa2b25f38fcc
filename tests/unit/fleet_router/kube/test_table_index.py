"""Routes computed change by change are those of a table built at once."""

from __future__ import annotations

import random

import pytest

from fleet_contract.claims import Key
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.kube import table_index
from fleet_router.kube.objects import ModelView, SliceView
from fleet_router.kube.table_index import TableIndex
from fleet_router.routing.table import Change, Endpoint, RouteTable
from support.route_tables import build

ONE, TWO = Endpoint("one", "10.0.0.1", 8000), Endpoint("two", "10.0.0.2", 8000)


def view(
    name: str, *ids: str, created: int = 0, namespace: str = "ns", **more: object
) -> ModelView:
    spec = ModelSpec(model=ids[0], aliases=list(ids[1:])) if ids else None
    stamp = f"2026-01-01T00:00:{created:02d}Z"
    return ModelView(namespace, name, stamp, spec, **more)  # type: ignore[arg-type]


def applied(index: TableIndex, table: RouteTable, limit: int = 1000) -> list[Change]:
    changes = []
    while index.stale:
        changes.append(index.update(limit))
        table.apply(changes[-1])
    return changes


def test_a_change_of_one_model_computes_that_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    index, table = TableIndex({}), RouteTable(ordered=True)
    for number in range(50):
        index.put_model(("ns", f"m{number}"), view(f"m{number}", f"org/{number}"))
    applied(index, table)
    assert len(table.routes) == 50
    computed: list[Key] = []
    route = TableIndex._route

    def counted(self: TableIndex, key: Key) -> object:
        computed.append(key)
        return route(self, key)

    monkeypatch.setattr(TableIndex, "_route", counted)
    index.put_slice(("ns", "s"), SliceView("ns", "m7", (ONE,)))
    index.put_model(("ns", "m8"), view("m8", "org/8", phase=Phase.READY))
    index.put_model(("ns", "m9"), view("m9", "org/9"))
    (change,) = applied(index, table)
    assert sorted(computed) == [("ns", "m7"), ("ns", "m8"), ("ns", "m9")]
    added = sorted(one.model for one in change.added)
    assert added == ["org/7", "org/8"], "m9 has not changed"
    assert table.by_id["org/7"].endpoints == (ONE,)


def test_servers_come_and_go_with_slices() -> None:
    index, table = TableIndex({}, lambda each: each.starting[:1]), RouteTable()
    key = ("ns", "m")
    index.put_slice(("ns", "s"), SliceView("ns", "m", (ONE,), (TWO,)))
    index.put_model(key, view("m", "org/m"))
    applied(index, table)
    assert table.by_id["org/m"].endpoints == (ONE, TWO)
    assert index.starting(key) == (TWO,)
    index.put_slice(("ns", "s"), SliceView("ns", "other", (ONE,)))
    applied(index, table)
    assert table.by_id["org/m"].endpoints == ()
    assert index.starting(key) == ()
    index.put_model(key, None)
    applied(index, table)
    assert table.by_id == {}
    assert not index._of_model.get(key)


def test_a_name_that_changes_its_owner_is_never_missing() -> None:
    index, table = TableIndex({}), RouteTable()
    for at, name in enumerate(("old", "mid", "young")):
        index.put_model(("ns", name), view(name, "org/m", "m", created=at))
    applied(index, table)
    for leaving, heir in (("old", "mid"), ("mid", "young")):
        index.put_model(("ns", leaving), None)
        table.apply(index.update(1))
        for name in ("org/m", "m"):
            origin = table.by_id[name].origin
            assert origin is not None
            assert origin.name == heir


def test_an_error_of_one_resource_keeps_its_route_and_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, table = TableIndex({}), RouteTable(ordered=True)
    index.put_model(("ns", "a"), view("a", "org/a"))
    applied(index, table)

    def broken(route: object, environ: object) -> object:
        if getattr(route, "model", "") == "org/a":
            raise TypeError("broken")
        return route

    monkeypatch.setattr(table_index, "with_remote", broken)
    index.put_model(("ns", "a"), view("a", "org/a", reason="new"))
    index.put_model(("ns", "b"), view("b", "org/b"))
    applied(index, table)
    assert [route.model for route in table.routes] == ["org/a", "org/b"]


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_changes_leads_to_the_table_built_at_once(seed: int) -> None:
    rng = random.Random(seed)
    environ = {"ID_PREFIXES": "team=f"} if seed % 2 else {}
    index, table = TableIndex(environ), RouteTable(ordered=True)
    models: dict[Key, ModelView] = {}
    slices: dict[Key, SliceView] = {}
    for _ in range(200):
        name, namespace = f"m{rng.randrange(6)}", rng.choice(("ns", "ns", "team"))
        key = (namespace, name)
        if rng.random() < 0.3:
            endpoints = tuple(rng.sample((ONE, TWO), rng.randrange(3)))
            slices[key] = SliceView(namespace, name, endpoints)
            index.put_slice(key, slices[key])
        elif rng.random() < 0.3:
            models.pop(key, None)
            index.put_model(key, None)
        else:
            ids = rng.sample("abcdef", rng.randrange(4))
            models[key] = view(name, *ids, created=rng.randrange(3), namespace=namespace)
            index.put_model(key, models[key])
        applied(index, table, limit=rng.choice((1, 2, 1000)))
        whole = build(models.values(), slices.values(), environ)
        assert table.by_id == whole.by_id
        assert table.routes == whole.routes
        assert set(table.endpoints()) == set(whole.endpoints())
