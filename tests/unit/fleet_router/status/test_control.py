"""The report to the process that started the router."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import yaml

from fleet_contract.api import control
from fleet_contract.api.control import Order
from fleet_contract.names import PATH_CONTROL
from fleet_contract.spec import ModelSpec
from fleet_router.app import RouterApp, Source, create_app
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import LiveRoutes, Route, RouteTable


def router(secret: str, auth: Auth | None = None, **more: Any) -> RouterApp:
    routes = LiveRoutes()
    routes.swap(RouteTable.build([Route(ModelSpec(model="a"))]))
    source = Source(version=lambda: 12)
    return create_app(routes, source, auth=auth, control=secret, **more)


async def get(app: RouterApp, token: str | None) -> httpx.Response:
    headers = {} if token is None else {b"authorization": f"Bearer {token}".encode()}
    transport = httpx.ASGITransport(app.web)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get(PATH_CONTROL, headers=headers)


async def test_the_report_has_loads_and_the_version_of_the_routes() -> None:
    app = router("secret")
    app.metrics.load.started("a")
    report = control.parse((await get(app, "secret")).content)
    assert (report.routes, report.loads["a"].in_flight) == (12, 1)


async def test_orders_of_the_console_are_reported_once() -> None:
    app = router("secret")
    transport = httpx.ASGITransport(app.web)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for query in ("", "?servers=0", "?servers=2"):
            refused = await http.post(f"/console/api/models/a{query}")
            assert refused.status_code == 404  # the console is off
    app = router("secret", with_console=True, loopback_hosts=())
    transport = httpx.ASGITransport(app.web)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for query in ("", "?servers=0", "?servers=2"):
            assert (await http.post(f"/console/api/models/a{query}")).status_code == 202
    report = control.parse((await get(app, "secret")).content)
    assert report.orders == (Order("a", 2),)
    assert control.parse((await get(app, "secret")).content).orders == ()


async def test_no_one_else_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    key = {"name": "k", "sha256": hashlib.sha256(b"key").hexdigest(), "metrics": True}
    path.write_text(yaml.safe_dump({"keys": [key]}))
    auth = Auth(path)
    auth.load()
    for app in (router("secret"), router("secret", auth)):
        for token in (None, "", "key", "secre", "secret2", "sécret"):
            assert (await get(app, token)).status_code == 401
        assert (await get(app, "secret")).status_code == 200


async def test_a_router_without_a_secret_has_no_such_path() -> None:
    assert (await get(router(""), "")).status_code == 404
