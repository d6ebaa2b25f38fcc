"""Who may read health and metrics, and how often servers are probed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.app import create_app
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import LiveRoutes, Route, RouteTable
from fleet_router.status import models
from fleet_web import side_server

Client = Callable[..., Any]
WARNING = "No API key is required"


@pytest.fixture
def routes() -> LiveRoutes:
    live = LiveRoutes()
    specs = [ModelSpec(model=name, task="chat") for name in ("acme/chat", "other/chat")]
    live.swap(RouteTable.build(Route(spec) for spec in specs))
    return live


@pytest.fixture
def auth(tmp_path: Path) -> Auth:
    path = tmp_path / "keys.yaml"
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **more}
        for name, more in (("some", {"models": ["acme/*"]}), ("monitor", {"metrics": True}))
    ]
    path.write_text(yaml.safe_dump({"keys": keys}))
    auth = Auth(path)
    auth.load()
    return auth


@asynccontextmanager
async def client(app: Any, **login: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", headers=login
    ) as http:
        yield http


async def get(app: Any, path: str, key: str = "") -> httpx.Response:
    async with client(app, **({"x-api-key": key} if key else {})) as http:
        return await http.get(path)


async def test_without_a_key_health_names_no_model(routes: LiveRoutes, auth: Auth) -> None:
    app = create_app(routes, auth=auth, warning="").web
    assert (await get(app, "/health")).json() == {"status": "not_ready"}
    assert (await get(app, "/health", "wrong")).status_code == 401
    some = await get(app, "/health", "some")
    assert (some.status_code, list(some.json()["models"])) == (503, ["acme/chat"])


async def test_an_id_of_an_adapter_that_another_model_has_is_listed_once() -> None:
    loras = [{"name": name, "source": "file:///sql"} for name in ("own", "other")]
    base = ModelSpec.model_validate({"model": "m", "adapters": loras})
    routes = LiveRoutes()
    routes.swap(RouteTable.build(map(Route, (base, ModelSpec(model="m:other")))))
    app = create_app(routes).web
    listed = (await get(app, "/v1/models")).json()["data"]
    assert [(each["id"], each["parent"]) for each in listed] == [
        ("m", None), ("m:own", "m"), ("m:other", None),
    ]  # fmt: skip
    assert (await get(app, "/v1/models/m:other")).json()["parent"] is None


async def test_metrics_need_a_key_that_may_read_them(routes: LiveRoutes, auth: Auth) -> None:
    app = create_app(routes, auth=auth).web
    assert (await get(app, "/metrics")).status_code == 401
    refused = await get(app, "/metrics", "some")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "metrics_not_allowed")
    assert (await get(app, "/metrics", "monitor")).status_code == 200
    assert (await get(app, "/load")).status_code == 401
    assert (await get(app, "/load", "some")).status_code == 403
    assert (await get(app, "/load", "monitor")).json() == {"models": {}}


async def test_a_fleet_without_keys_shows_all_and_its_warning(routes: LiveRoutes) -> None:
    app = create_app(routes, warning=WARNING).web
    health = (await get(app, "/health")).json()
    assert set(health["models"]) == {"acme/chat", "other/chat"}
    assert health["warnings"] == [WARNING]
    assert (await get(app, "/metrics")).status_code == 200
    assert "warnings" not in (await get(create_app(routes).web, "/health")).json()


@pytest.mark.parametrize(
    ("replicas", "phase", "status", "state"),
    [
        (0, None, 200, "stopped"),
        (0, Phase.STOPPED, 200, "stopped"),
        (None, Phase.SCALED_TO_ZERO, 200, "scaled_to_zero"),
        (None, Phase.FAILED, 503, "failed"),
        (None, Phase.CONFLICT, 503, "conflict"),
        (1, None, 503, "starting"),
    ],
)
async def test_models_that_are_off_on_purpose_do_not_make_a_fleet_unhealthy(
    replicas: int | None, phase: Phase | None, status: int, state: str
) -> None:
    live = LiveRoutes()
    spec = ModelSpec(model="acme/chat", task="chat", replicas=replicas)
    live.swap(RouteTable.build([Route(spec, phase=phase)]))
    got = await get(create_app(live).web, "/health")
    assert (got.status_code, got.json()["models"]) == (status, {"acme/chat": state})


async def test_web_pages_are_refused_where_no_key_is_needed(routes: LiveRoutes, auth: Auth) -> None:
    rebound = {"host": "evil.example"}
    for keys, status in ((None, 403), (auth, 401)):
        app = create_app(routes, auth=keys, loopback_hosts=["fleet.example"]).web
        async with client(app) as http:
            assert (await http.get("/v1/models", headers=rebound)).status_code == status
            named = await http.get("/livez", headers={"host": "fleet.example"})
            assert named.status_code == 200


async def test_a_port_for_metrics_needs_no_key(routes: LiveRoutes, auth: Auth) -> None:
    with side_server.listen("127.0.0.1", 0) as listener:
        app = create_app(routes, auth=auth, metrics_listener=listener, loopback_hosts=()).web
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(trust_env=False, timeout=30) as http,
        ):
            assert "modelfleet_router" in (await http.get(f"{url}/metrics")).text
            assert len((await http.get(f"{url}/health")).json()["models"]) == 2
            assert (await http.get(f"{url}/v1/models")).status_code == 404
            assert (await get(app, "/metrics", "monitor")).status_code == 404
            rebound = await http.get(f"{url}/metrics", headers={"host": "evil.example"})
            assert rebound.status_code == 403
            assert "/metrics" not in (await get(app, "/openapi.json", "some")).json()["paths"]


async def test_servers_are_probed_once_a_second(
    routes: LiveRoutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    probed: list[str] = []

    async def entry(self: models.Models, route: Route) -> Any:
        probed.append(route.model)
        return {"id": route.model, "state": "ready"}

    monkeypatch.setattr(models.Models, "entry", entry)
    clock = SimpleNamespace(monotonic=lambda: now, time=lambda: 0.0)
    monkeypatch.setattr(models, "time", clock)
    app = create_app(routes).web
    for now in (0.0, 0.5, 0.9):  # noqa: B007
        assert (await get(app, "/health")).status_code == 200
    assert probed == ["acme/chat", "other/chat"]
    now = 1.1
    await asyncio.gather(*(get(app, "/health") for _ in range(3)))
    assert len(probed) == 4
