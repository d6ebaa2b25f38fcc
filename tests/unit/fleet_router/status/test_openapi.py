"""The router's OpenAPI document has every route and is protected as the models are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis

from fleet_router.app import create_app
from fleet_router.callers.auth import Auth
from fleet_router.routing.table import LiveRoutes
from fleet_router.status.openapi import document
from support.routes_of import described, routes_of


@pytest.mark.parametrize("with_metrics", [True, False])
def test_every_route_is_described_and_nothing_else(with_metrics: bool) -> None:
    app = create_app(LiveRoutes(), with_metrics=with_metrics).web
    assert described(document(guarded=False, with_metrics=with_metrics)) == routes_of(app)


@pytest.mark.parametrize("guarded", [True, False])
def test_it_is_valid_and_requires_keys_where_the_router_does(guarded: bool) -> None:
    found = document(guarded=guarded, with_metrics=True)
    schemathesis.openapi.from_dict(found).validate()
    asking = {
        path
        for path, item in found["paths"].items()
        for each in item.values()
        if "security" in each
    }
    probes = {"/livez", "/readyz", "/health"}
    assert asking == (found["paths"].keys() - probes if guarded else set())
    assert ("securitySchemes" in found["components"]) == guarded


def test_it_requires_a_key_like_the_models(listen: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    digest = hashlib.sha256(b"the key").hexdigest()
    keys.write_text(f"keys: [{{name: a, sha256: {digest}}}]")
    auth = Auth(keys)
    auth.load()
    with listen(create_app(LiveRoutes(), auth=auth).web) as port:
        address = f"http://127.0.0.1:{port}/openapi.json"
        refused = httpx.get(address)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
        answer = httpx.get(address, headers={"x-api-key": "the key"})
        assert answer.json() == document(guarded=True, with_metrics=True)
