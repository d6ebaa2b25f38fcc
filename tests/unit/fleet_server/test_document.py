"""The OpenAPI document of a server has every route of the app, and no other."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import Request

from fleet_contract.errors import FleetError
from fleet_contract.spec import ModelSpec, Task
from fleet_server.app import create_app
from fleet_server.document import document
from fleet_server.state import ServerState
from support.routes_of import described, routes_of


def state(task: Task) -> ServerState:
    return ServerState(ModelSpec(model="org/m", task=task, aliases=["m"]), 1)


@pytest.mark.parametrize("with_metrics", [True, False])
@pytest.mark.parametrize("task", list(Task))
def test_every_route_is_described_and_nothing_else(task: Task, with_metrics: bool) -> None:
    server = state(task)
    app = create_app(server, with_metrics=with_metrics)
    documented = described(document(server.spec, with_metrics=with_metrics))
    assert documented == routes_of(app)
    server.close()


def test_an_undocumented_route_is_noticed() -> None:
    server = state(Task.CHAT)
    app = create_app(server)

    @app.post("/v1/new")
    async def new(request: Request) -> None: ...

    assert ("post", "/v1/new") in routes_of(app) - described(
        document(server.spec, with_metrics=True)
    )
    server.close()


@pytest.mark.parametrize("task", list(Task))
def test_the_document_is_valid_and_its_names_are_unique(task: Task) -> None:
    documented = document(state(task).spec, with_metrics=True)
    schemathesis.openapi.from_dict(documented).validate()
    names = [item["operationId"] for path in documented["paths"].values() for item in path.values()]
    assert len(set(names)) == len(names)
    assert documented["openapi"].startswith("3.1")
    text = json.dumps(documented)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        found: Any = documented
        for key in reference.split("/"):
            found = found[key]


def test_every_status_of_an_error_is_known_to_the_documents() -> None:
    def kinds(kind: type[FleetError]) -> set[int]:
        return {kind.status}.union(*map(kinds, kind.__subclasses__()))

    from fleet_router.request.spool import DiskFull
    from fleet_router.upstream import headers
    from fleet_web.errors import HeadTooLarge
    from fleet_web.openapi.parts import STATUSES

    assert {HeadTooLarge.status, DiskFull.status} < set(STATUSES)
    assert headers  # its errors are counted as well
    assert kinds(FleetError) - {405} == set(STATUSES)


def test_it_is_served(listen: Any) -> None:
    server = state(Task.EMBEDDING)
    with listen(create_app(server)) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document(server.spec, with_metrics=True)
    assert "`m`" in answer.json()["info"]["description"]
    server.close()
