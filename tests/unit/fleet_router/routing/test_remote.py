"""Routes to OpenAI-compatible remote servers, and the keys that are sent to them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_router.routing.remote import api_key, with_remote
from fleet_router.routing.table import Endpoint, Route

SERVERS = (Endpoint("m-0", "127.0.0.1", 9),)


def remote(**fields: Any) -> Route:
    address = {"address": "https://far.test/base", **fields}
    spec = {"model": "m", "engine": "remote", "remote": address}
    return Route(ModelSpec.model_validate(spec), SERVERS)


def test_a_remote_route_has_its_address_as_endpoint() -> None:
    found = with_remote(remote(model="theirs"), {})
    assert found.endpoints == (Endpoint("remote", "far.test", 443, True, "/base"),)
    assert (found.upstream_model, found.reason) == ("theirs", "")
    assert with_remote(remote(), {}).upstream_model == "m"


@pytest.mark.parametrize("spec", [{}, {"remote": {"address": "https://far.test"}}])
def test_another_engine_keeps_its_servers(spec: dict[str, Any]) -> None:
    route = Route(ModelSpec.model_validate({"model": "m", **spec}), SERVERS)
    assert with_remote(route, {}) is route


def test_a_malformed_address_leaves_no_endpoint() -> None:
    found = with_remote(remote(address="https://far.test:port"), {})
    assert (found.endpoints, found.reason) == ((), "InvalidAddress")


@pytest.mark.parametrize(
    ("name", "environ", "key"),
    [
        (None, {"REMOTE_KEYS": "A", "A": "secret"}, ""),
        ("A", {"REMOTE_KEYS": "A", "A": "secret"}, "secret"),
        ("A", {"REMOTE_KEYS": " B , A ", "A": "secret"}, "secret"),
        ("A", {"REMOTE_KEYS": "A"}, ""),
        ("A", {"REMOTE_KEYS": "B", "A": "secret"}, ""),
        ("A", {"A": "secret"}, ""),
    ],
)
def test_only_allowed_variables_are_keys(
    name: str | None, environ: dict[str, str], key: str
) -> None:
    assert api_key(name, environ) == key
    assert with_remote(remote(apiKeyEnv=name), environ).endpoints[0].key == key


def test_a_variable_that_is_not_allowed_is_logged_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        api_key("A", {"REMOTE_KEYS": "B", "A": "secret"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "remote_key_not_allowed"
    assert vars(record)["fields"] == {"variable": "A"}
