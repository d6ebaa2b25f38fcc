"""The route table and its sources."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec, Task
from fleet_router.routing import file_source
from fleet_router.routing.file_source import FileSource, parse
from fleet_router.routing.table import Change, Endpoint, LiveRoutes, Route, RouteTable


def text(*models: dict[str, Any]) -> str:
    return json.dumps({"models": list(models)})


@pytest.mark.parametrize(
    ("url", "endpoint", "authority"),
    [
        ("http://10.0.0.1:9001", Endpoint("e", "10.0.0.1", 9001), "10.0.0.1:9001"),
        ("http://host/base/", Endpoint("e", "host", 80, prefix="/base"), "host:80"),
        ("https://host", Endpoint("e", "host", 443, tls=True), "host:443"),
        ("http://[::1]:8", Endpoint("e", "::1", 8), "[::1]:8"),
    ],
)
def test_an_address_is_read(url: str, endpoint: Endpoint, authority: str) -> None:
    assert Endpoint.parse("e", url) == endpoint
    assert endpoint.authority == authority


@pytest.mark.parametrize("url", ["ftp://x", "host:80", "http://", "http://x:port"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Endpoint.parse("e", url)


def test_ids_and_aliases_reach_one_route() -> None:
    route = Route(ModelSpec(model="a/b", aliases=["b", "c"]))
    other = Route(ModelSpec(model="e", task=Task.EMBEDDING))
    table = RouteTable.build([route, other])
    assert {name for name in table.by_id if table.by_id[name] is route} == {"a/b", "b", "c"}
    assert table.of_task(Task.EMBEDDING) == (other,)
    assert table.of_task(None) == (route, other)


def test_an_id_claimed_twice_names_both() -> None:
    with pytest.raises(ValueError, match="'b' names both 'a' and 'b'"):
        RouteTable.build([Route(ModelSpec(model="a", aliases=["b"])), Route(ModelSpec(model="b"))])


def test_a_file_becomes_a_table_and_unknown_keys_are_ignored() -> None:
    entry = {
        "spec": {"model": "a/b", "task": "chat"},
        "endpoints": [{"name": "b-0", "url": "http://127.0.0.1:9", "pid": 3}],
        "state": "starting",
    }
    table = parse(text(entry, {"spec": {"model": "c"}}), {})
    assert table.by_id["a/b"].endpoints == (Endpoint("b-0", "127.0.0.1", 9),)
    assert table.by_id["c"].endpoints == ()


def test_settings_override_as_they_do_in_the_servers() -> None:
    entry = {"spec": {"model": "a", "task": "speech", "env": {"MAX_AUDIO_BYTES": "7"}}}
    limits = (
        parse(text(entry), {"MAX_AUDIO_BYTES": "5", "MAX_BODY_BYTES": "6"}).routes[0].spec.limits
    )
    assert (limits.max_audio_bytes, limits.max_body_bytes) == (7, 6)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("{", "JSON"),
        ("{}", "models"),
        (text({"spec": {}}), "models.0.spec.model"),
        (text({"spec": {"model": "a"}}, {"spec": {"model": "a"}}), "names both"),
        (text({"spec": {"model": "a"}, "endpoints": [{"name": "x", "url": "x"}]}), "address"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(raw: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(raw, {})


def test_a_broken_change_keeps_the_table(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    path.write_text(text({"spec": {"model": "a"}}))
    swaps: list[RouteTable] = []
    routes = LiveRoutes()
    routes.on_change = lambda _: swaps.append(routes.table)
    source = FileSource(path, routes, {})
    source.load()
    source.refresh()
    assert len(swaps) == 1
    path.write_text("{")
    source.refresh()
    assert routes.table is swaps[0]
    path.unlink()
    source.refresh()
    assert routes.table is swaps[0]
    path.write_text(text({"spec": {"model": "b"}}))
    source.refresh()
    assert [route.model for route in swaps[-1].routes] == ["b"]


def test_a_model_that_is_not_served_is_known_by_its_aliases() -> None:
    served = Route(ModelSpec(model="a", aliases=["x"]))
    refused = Route(ModelSpec(model="a", aliases=["y"]), served=False)
    table = RouteTable.build([served, refused])
    assert table.by_id == {"a": served, "x": served, "y": refused}
    assert table.routes == (served,)


def test_a_change_leaves_the_same_table_as_a_new_one() -> None:
    one, two = Endpoint("a-0", "h", 1), Endpoint("b-0", "h", 2)
    hashed = {"model": "b", "aliases": ["x"], "routing": {"strategy": "PrefixHash"}}
    old = [
        Route(ModelSpec(model="a", aliases=["y"]), (one,)),
        Route(ModelSpec.model_validate(hashed), (one, two)),
        Route(ModelSpec(model="z", aliases=["v"]), served=False),
    ]
    new = [
        Route(ModelSpec(model="a", aliases=["x"], task=Task.EMBEDDING), (one,)),
        Route(ModelSpec(model="c", aliases=["y"])),
        Route(ModelSpec(model="z", aliases=["v"])),
    ]
    table, fresh = RouteTable.build(old), RouteTable.build(new)
    version = table.version
    table.apply(Change(old, new))
    assert table.version > version
    assert table.by_id == fresh.by_id
    assert table.routes == fresh.routes
    assert table.endpoints() == fresh.endpoints() == {one}
    assert (table.uses_prefix_hash, table.serves("b"), table.serves("c")) == (False, False, True)
    for task in (None, *Task):
        assert table.of_task(task) == fresh.of_task(task)
        assert set(table.body_limits(task)) == set(fresh.body_limits(task))


def test_an_ordered_table_lists_models_by_id() -> None:
    routes = [Route(ModelSpec(model=name)) for name in "cab"]
    table = RouteTable(ordered=True)
    table.apply(Change((), routes))
    assert [route.model for route in table.routes] == ["a", "b", "c"]
    table.apply(Change(routes[:1], ()))
    assert [route.model for route in table.routes] == ["a", "b"]


def test_prefixes_matter_if_any_model_is_routed_by_them() -> None:
    plain = Route(ModelSpec(model="a"))
    hashed = Route(ModelSpec.model_validate({"model": "b", "routing": {"strategy": "PrefixHash"}}))
    assert not RouteTable.build([plain]).uses_prefix_hash
    assert RouteTable.build([plain, hashed]).uses_prefix_hash


def test_all_servers_of_all_models() -> None:
    one, two = Endpoint("a-0", "h", 1), Endpoint("b-0", "h", 2)
    table = RouteTable.build(
        [Route(ModelSpec(model="a"), (one,)), Route(ModelSpec(model="b"), (one, two))]
    )
    assert table.endpoints() == {one, two}


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Endpoint("e", "h", 1, key="secret"))


async def test_a_waiter_wakes_up_after_the_next_change_of_its_models() -> None:
    route, other = Route(ModelSpec(model="a", aliases=["x"])), Route(ModelSpec(model="b"))
    routes, table = LiveRoutes(), RouteTable.build([route, other])
    waiting = [
        asyncio.create_task(routes.wait_for_change(60, names))
        for names in (("a",), ("n", "x"), ("b",))
    ]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    routes.swap(table)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert routes.table is table
    later = [asyncio.create_task(routes.wait_for_change(60, (name,))) for name in ("x", "b", "n")]
    await asyncio.sleep(0)
    routes.apply(Change([route], [replace(route, reason="new")]))
    await asyncio.wait_for(later[0], 5)
    assert not later[1].done()
    routes.notify()
    async with asyncio.timeout(5):
        await asyncio.gather(*later)
    assert not routes._waiting


async def test_waiting_for_a_change_has_a_timeout() -> None:
    async with asyncio.timeout(5):
        await LiveRoutes().wait_for_change(0, ("a",))


async def test_the_file_is_reloaded_automatically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "POLL_SECONDS", 0)
    path = tmp_path / "routes.json"
    path.write_text(text({"spec": {"model": "a"}}))
    routes = LiveRoutes()
    source = FileSource(path, routes, {})
    source.load()
    watching = asyncio.create_task(source.watch())
    path.write_text(text({"spec": {"model": "another"}}))
    async with asyncio.timeout(5):
        await routes.wait_for_change(5, ("another",))
    watching.cancel()
    assert routes.table is not None
    assert [route.model for route in routes.table.routes] == ["another"]


def test_reloads_and_errors_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "routes.json"
    path.write_text(text({"spec": {"model": "a"}}))
    source = FileSource(path, LiveRoutes(), {})
    with caplog.at_level(logging.INFO):
        source.refresh()
        path.write_text("{")
        source.refresh()
        source.refresh()
    assert [(record.getMessage(), record.levelname) for record in caplog.records] == [
        ("routes_loaded", "INFO"), ("routes_not_reloaded", "ERROR"),
    ]  # fmt: skip
    assert vars(caplog.records[0])["fields"] == {"models": ["a"]}
