"""Orders of the console: who may give them, and for which models."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.app import Source
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import LiveRoutes, Origin, Route, RouteTable
from fleet_router.status.orders import ClusterOrders
from support.console_client import SECRET, client, login


async def test_orders_need_the_right_and_the_model(routes: LiveRoutes, auth: Auth) -> None:
    source = Source(version=lambda: 1)
    chat = "/console/api/models/acme/chat"
    async with client(routes, auth, source=source, control=SECRET) as http:
        session = (await http.get("/console/api/session", headers=login("boss"))).json()
        assert session["controls"] == ["load", "unload", "scale"]
        assert (await http.post(chat, headers=login("boss"))).status_code == 202
        assert (await http.post(chat)).status_code == 401
        for key in ("some", "monitor"):
            refused = await http.post(chat, headers=login(key))
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "manage_not_allowed"
        other = await http.post("/console/api/models/other/chat", headers=login("boss"))
        assert other.status_code == 404
        for servers in ("x", "-1", "65", "1.5", "9999", "\u0663", ""):
            wrong = await http.post(chat, params={"servers": servers}, headers=login("boss"))
            assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "servers"), servers


async def test_orders_are_logged_with_the_key(
    routes: LiveRoutes, auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fleet_router")
    chat = "/console/api/models/chat"
    async with client(routes, auth, source=Source(version=lambda: 1), control=SECRET) as http:
        await http.post(chat, params={"servers": 0}, headers=login("boss"))
        await http.post(chat, headers=login("some"))
    (ordered,) = [each for each in caplog.records if each.msg == "model_ordered"]
    assert vars(ordered)["fields"] == {"model": "acme/chat", "servers": 0, "key": "boss"}


async def test_without_keys_only_this_machine_may_order(routes: LiveRoutes) -> None:
    path, source = "/console/api/models/acme/chat", Source(version=lambda: 1)
    async with client(routes, source=source, control=SECRET) as http:
        assert (await http.post(path)).status_code == 403
        assert (await http.get("/console/api/session")).json()["controls"] == []
    async with client(routes, source=source, control=SECRET, loopback_hosts=()) as http:
        assert (await http.post(path)).status_code == 202
        evil = {"origin": "https://evil.example"}
        assert (await http.post(path, headers=evil)).status_code == 403
    async with client(routes, loopback_hosts=()) as http:  # nobody would follow them
        assert (await http.post(path)).status_code == 403


async def test_a_router_of_a_cluster_starts_models_only(routes: LiveRoutes, auth: Auth) -> None:
    woken: list[Origin] = []
    path = "/console/api/models/acme/chat"
    async with client(routes, auth, source=Source(wake=woken.append)) as http:
        session = (await http.get("/console/api/session", headers=login("boss"))).json()
        assert session["controls"] == ["load"]
        assert (await http.post(path, headers=login("boss"))).status_code == 202
        assert [one.name for one in woken] == ["chat"]
        refused = await http.post(path, params={"servers": 2}, headers=login("boss"))
        assert refused.status_code == 400
        assert "modelfleet scale" in refused.json()["error"]["message"]


async def test_remote_and_stopped_models_cannot_be_ordered() -> None:
    live = LiveRoutes()
    live.swap(RouteTable.build([Route(ModelSpec(model="off", stopped=True))]))
    more = {"source": Source(version=lambda: 1), "control": SECRET, "loopback_hosts": ()}
    async with client(live, **more) as http:
        refused = await http.post("/console/api/models/off")
        assert (refused.status_code, "is stopped" in refused.text) == (400, True)


@pytest.mark.parametrize(
    ("fields", "starts"),
    [
        ({"replicas": 0}, False), ({}, False), ({"scaleToZeroAfter": 60}, True),
        ({"yieldsAfter": 60}, True), ({"targetInFlight": 2, "replicas": 0}, True),
    ],
)  # fmt: skip
def test_a_router_of_a_cluster_starts_models_that_scale_with_requests(
    fields: dict[str, Any], starts: bool
) -> None:
    """The operator ignores the wake of others."""
    woken: list[Origin] = []
    spec = ModelSpec.model_validate({"model": "m", **fields})
    route = Route(spec, origin=Origin("team", "m"), phase=Phase.FAILED)
    if starts:
        ClusterOrders(woken.append).give(route, None)
    else:
        with pytest.raises(BadRequest, match="kubectl modelfleet scale -n team m 1"):
            ClusterOrders(woken.append).give(route, None)
    assert bool(woken) is starts
