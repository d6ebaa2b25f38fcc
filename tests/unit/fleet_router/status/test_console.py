"""The console's routes: the page is public and has no data; data is for those who may see it."""

from __future__ import annotations

import platform
import re
import time
from typing import Any

import httpx
import pytest
import yaml

from fleet_console.files import PATHS
from fleet_console.response import POLICY
from fleet_contract.spec import ModelSpec
from fleet_router.app import Source
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import Endpoint, LiveRoutes, Origin, Route, RouteTable
from fleet_router.status import fleet_view, models, server_reports
from fleet_router.status.console import MAX_ROWS
from fleet_router.upstream.pool import PoolManager
from support.console_client import SECRET, client, login

DATA = ("session", "fleet", "models/acme/chat", "requests", "usage")


async def failed_chat(http: httpx.AsyncClient, model: str, key: str = "") -> None:
    """A request that ends at once, since its model has no server."""
    await http.post(
        "/v1/chat/completions", json={"model": model, "messages": []},
        headers=login(key) if key else {},
    )  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_files_need_no_key_and_have_the_policy(
    path: str, routes: LiveRoutes, auth: Auth
) -> None:
    async with client(routes, auth) as http:
        found = await http.get(path)
        assert (found.status_code, found.headers["content-type"]) == (200, PATHS[path][1])
        assert found.headers["content-security-policy"] == POLICY
        assert found.headers["cache-control"] == "no-cache"
        tag = {"if-none-match": found.headers["etag"]}
        assert (await http.get(path, headers=tag)).status_code == 304
        assert (await http.head(path)).status_code == 200
        assert (await http.post(path)).status_code == 405


async def test_no_other_path_is_a_file(routes: LiveRoutes) -> None:
    async with client(routes) as http:
        for path in ("/console", "/console/", "/console/../app.js", "/console/%2e%2e/files.py",
                     "/console/app.js/", "/console//app.js", "/index.html", "/static/app.js",
                     "//evil.example/", "/console/sources.sha256"):  # fmt: skip
            found = await http.get(httpx.URL("http://localhost", raw_path=path.encode()))
            assert found.status_code == 404, path
            assert found.headers["content-type"] == "application/json"
            assert "location" not in found.headers


async def test_the_console_can_be_switched_off(routes: LiveRoutes) -> None:
    async with client(routes, with_console=False) as http:
        for path in (*PATHS, *(f"/console/api/{name}" for name in DATA)):
            assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("name", DATA)
async def test_data_needs_a_valid_key(name: str, routes: LiveRoutes, auth: Auth) -> None:
    async with client(routes, auth) as http:
        path = f"/console/api/{name}"
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers=login("wrong"))).status_code == 401
        found = await http.get(path, headers=login("some"))
        assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
        assert found.json()["router"] == platform.node()
        assert 0 <= time.time() - found.json()["since"] < 60
        assert "access-control-allow-origin" not in found.headers


async def test_web_pages_of_others_get_neither_page_nor_data(routes: LiveRoutes) -> None:
    rebound = {"host": "evil.example"}
    async with client(routes, loopback_hosts=()) as http:
        for path in ("/", "/console/api/fleet"):
            assert (await http.get(path, headers=rebound)).status_code == 403
            assert (await http.get(path)).status_code == 200


async def test_a_key_sees_its_models_without_the_load_of_others(
    routes: LiveRoutes, auth: Auth
) -> None:
    async with client(routes, auth) as http:
        some = (await http.get("/console/api/fleet", headers=login("some"))).json()
        assert ([one["id"] for one in some["models"]], some["total"]) == (["acme/chat"], 1)
        assert some["models"][0]["in_flight"] is some["models"][0]["tokens_per_second"] is None
        page = (await http.get("/console/api/models/acme/chat", headers=login("some"))).json()
        assert page["intervals"] is page["manifest"] is None
        assert page["servers"] == []
        other = await http.get("/console/api/models/other/chat", headers=login("some"))
        assert other.status_code == 404
        assert "other/chat" not in other.json()["error"]["message"].partition("fleet has")[2]
        session = (await http.get("/console/api/session", headers=login("some"))).json()
        assert (session["key"], session["sees_all"]) == ("some", False)
        assert session["limits"] == {"requestsPerMinute": 60}
        monitor = (await http.get("/console/api/fleet", headers=login("monitor"))).json()
        assert [one["in_flight"] for one in monitor["models"]] == [0, 0]


async def test_a_key_sees_its_own_requests_and_usage(routes: LiveRoutes, auth: Auth) -> None:
    async with client(routes, auth, with_metrics=False) as http:
        for model, key in (("acme/chat", "some"), ("other/chat", "another"), ("none", "another")):
            await failed_chat(http, model, key)
        await failed_chat(http, "acme/chat", "wrong")
        for key, expected in (("some", ["some"]), ("monitor", ["another", "another", "some"])):
            requests = (await http.get("/console/api/requests", headers=login(key))).json()
            assert [one["key"] for one in requests["requests"]] == expected
            usage = (await http.get("/console/api/usage", headers=login(key))).json()["usage"]
            assert {row["key"] for row in usage} - {""} == set(expected)
            assert all(row["errors"] == row["requests"] for row in usage)
        chosen = await http.get(
            "/console/api/requests", params={"model": "acme/chat"}, headers=login("monitor")
        )
        [one] = chosen.json()["requests"]
        assert (one["model"], one["status"], one["path"]) == (
            "acme/chat", 503, "/v1/chat/completions",
        )  # fmt: skip


async def test_prices_are_shown_and_those_of_servers_to_who_sees_the_load(auth: Auth) -> None:
    live = LiveRoutes()
    price = {"input": 2, "hour": 0.5}
    spec = ModelSpec.model_validate({"model": "acme/chat", "task": "chat", "price": price})
    servers = tuple(Endpoint(f"s{n}", "127.0.0.1", 1) for n in range(2))
    live.swap(RouteTable.build([Route(spec, servers), Route(ModelSpec(model="acme/free"))]))
    async with client(live, auth) as http:
        for key, amounts, cost in (
            ("some", {"input": 2}, None), ("monitor", {"input": 2, "hour": 0.5}, 1.0),
        ):  # fmt: skip
            found = await http.get("/console/api/fleet", headers=login(key))
            priced, free = found.json()["models"]
            assert priced["price"] == {"currency": "USD", **amounts}
            assert priced["cost_per_hour"] == cost
            assert free["price"] is free["cost_per_hour"] is None
        await failed_chat(http, "acme/chat", "some")
        found = await http.get("/console/api/requests", headers=login("some"))
        [request] = found.json()["requests"]
        assert (request["cost"], request["currency"]) == (0.0, "USD")


async def test_without_keys_the_console_shows_no_more_than_metrics(routes: LiveRoutes) -> None:
    for more, shown in (
        ({}, True), ({"metrics_listener": object()}, False), ({"with_metrics": False}, False),
    ):  # fmt: skip
        async with client(routes, **more) as http:
            await failed_chat(http, "acme/chat")
            data = {name: (await http.get(f"/console/api/{name}")).json() for name in DATA}
            assert data["session"]["sees_all"] is shown
            assert bool(data["requests"]["requests"]) is bool(data["usage"]["usage"]) is shown
            assert (data["models/acme/chat"]["manifest"] is not None) is shown
            assert [one["held"] is not None for one in data["fleet"]["models"]] == [shown, shown]


async def test_no_content_of_a_request_is_kept(routes: LiveRoutes) -> None:
    async with client(routes) as http:
        body = {"model": "acme/chat", "messages": [{"role": "user", "content": SECRET}],
                "user": SECRET, "tools": SECRET}  # fmt: skip
        await http.post("/v1/chat/completions", json=body, params={"x": SECRET})
        await http.post("/v1/chat/completions", json={**body, "model": SECRET})
        listed = await http.get("/console/api/requests")
        assert len(listed.json()["requests"]) == 2
        for name in DATA:
            assert SECRET not in (await http.get(f"/console/api/{name}")).text


async def test_a_model_has_its_resource_and_its_manifest_without_secrets(
    routes: LiveRoutes,
) -> None:
    weights = {"doneBytes": 5, "totalBytes": 10}
    cold = {"scheduleSeconds": 1, "loadSeconds": 2.5, "totalSeconds": 3.5, "at": "now"}
    condition = {"type": "Ready", "status": "False", "reason": "Pulling", "message": "<b>x</b>"}

    def details(origin: Origin) -> dict[str, Any] | None:
        assert origin == Origin("team", "chat")
        return {"conditions": [condition], "coldStart": cold, "weights": weights, "ready": "0/1"}

    async with client(routes, source=Source(details=details)) as http:
        page = (await http.get("/console/api/models/chat")).json()
        assert (page["id"], page["reason"], page["wanted"]) == ("acme/chat", "Pulling", "0/1")
        assert (page["namespace"], page["resource"]) == ("team", "chat")
        assert page["conditions"] == [condition]
        assert page["since"] <= page["now"] <= time.time()
        assert (page["progress"]["done_bytes"], page["progress"]["seconds_left"]) == (5, None)
        assert page["stages"] == {"schedule": 1.0, "load": 2.5}
        manifest = yaml.safe_load(page["manifest"])
        assert manifest["metadata"]["name"] == "chat"
        assert manifest["spec"]["env"] == {"MAX_BATCH_SIZE": "4"}
        assert "files" not in manifest["spec"]
        assert SECRET not in page["manifest"]


async def test_messages_of_conditions_are_for_those_who_see_everything(
    routes: LiveRoutes, auth: Auth
) -> None:
    text = f"Pulling https://u:{SECRET}@registry/image?sig={SECRET} failed on node-7."
    condition = {"type": "Ready", "status": "False", "reason": "ImagePullFailed"}
    source = Source(details=lambda origin: {"conditions": [{**condition, "message": text}]})
    async with client(routes, auth, source=source) as http:
        path = "/console/api/models/chat"
        assert (await http.get(path, headers=login("some"))).json()["conditions"] == [condition]
        [shown] = (await http.get(path, headers=login("monitor"))).json()["conditions"]
        assert shown["message"] == "Pulling https://...@registry/image?... failed on node-7."


async def test_a_start_is_shown_by_its_progress() -> None:
    live = LiveRoutes()
    spec = ModelSpec(model="acme/chat", task="chat")
    live.swap(RouteTable.build([Route(spec, reason="Pulling", progress="fetching weights 42 %")]))
    async with client(live) as http:
        [row] = (await http.get("/console/api/fleet")).json()["models"]
        page = (await http.get("/console/api/models/acme/chat")).json()
        assert row["reason"] == page["reason"] == "fetching weights 42 %"


async def test_rows_are_bounded_and_found_by_part_of_their_id() -> None:
    live = LiveRoutes()
    specs = [ModelSpec(model=f"acme/m{n}", task="chat", stopped=True) for n in range(MAX_ROWS + 5)]
    live.swap(RouteTable.build(map(Route, specs)))
    async with client(live) as http:
        fleet = (await http.get("/console/api/fleet")).json()
        assert (len(fleet["models"]), fleet["total"]) == (MAX_ROWS, MAX_ROWS + 5)
        found = (await http.get("/console/api/fleet", params={"search": "ME/M20"})).json()
        assert [one["id"] for one in found["models"]] == ["acme/m20", *(
            f"acme/m20{n}" for n in range(5))]  # fmt: skip
        long = await http.get("/console/api/fleet", params={"search": "x" * 1000})
        assert (long.status_code, long.json()["error"]["param"]) == (400, "search")


async def test_only_servers_of_shown_models_are_queried(monkeypatch: pytest.MonkeyPatch) -> None:
    queried: list[str] = []

    async def fetch(pools: PoolManager, endpoint: Endpoint, path: str, **more: Any) -> None:
        queried.append(f"{endpoint.name}{path}")

    for module in (models, server_reports):
        monkeypatch.setattr(module, "fetch", fetch)
    live = LiveRoutes()
    live.swap(
        RouteTable.build(
            Route(ModelSpec(model=name, task="chat"), (Endpoint(name, "127.0.0.1", port),))
            for port, name in enumerate(("one", "other"), start=1)
        )
    )
    async with client(live) as http:
        for _ in range(2):
            await http.get("/console/api/fleet", params={"search": "one"})
            await http.get("/console/api/models/one")
        assert sorted(queried) == ["one/health", "one/v1/models"]


async def test_a_changed_model_is_queried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are ready are otherwise asked for their memory every 15 s."""
    monkeypatch.setattr(fleet_view, "ENTRY_SECONDS", 0.0)
    monkeypatch.setattr(server_reports, "KEPT_READY_SECONDS", 100.0)
    listed: list[str] = []

    async def fetch(pools: PoolManager, endpoint: Endpoint, path: str, **more: Any) -> bytes:
        if path != "/v1/models":
            return b'{"status": "ready"}'
        listed.append(endpoint.name)
        return b'{"data": [{"id": "one", "state": "ready"}]}'

    for module in (models, server_reports):
        monkeypatch.setattr(module, "fetch", fetch)
    live = LiveRoutes()
    server = Endpoint("s", "127.0.0.1", 1)
    async with client(live) as http:
        for alias in ("uno", "un"):
            spec = ModelSpec(model="one", task="chat", aliases=[alias])
            live.swap(RouteTable.build([Route(spec, (server,))]))
            for _ in range(2):
                [row] = (await http.get("/console/api/fleet")).json()["models"]
                assert (row["state"], row["aliases"]) == ("ready", [alias])
    assert listed == ["s", "s"]


async def test_before_the_first_routes_the_console_waits() -> None:
    async with client(LiveRoutes()) as http:
        assert (await http.get("/")).status_code == 200
        for name in ("fleet", "models/x"):
            assert (await http.get(f"/console/api/{name}")).status_code == 503


async def test_page_and_responses_reflect_nothing_of_a_request(routes: LiveRoutes) -> None:
    tag = "<script>alert(1)</script>"
    async with client(routes) as http:
        page = await http.get("/", params={"x": tag}, headers={"referer": tag})
        assert tag not in page.text
        for path in (f"/console/api/models/{tag}", f"/console/{tag}"):
            found = await http.get(path)
            assert found.status_code == 404
            assert re.match(r"application/json", found.headers["content-type"])
