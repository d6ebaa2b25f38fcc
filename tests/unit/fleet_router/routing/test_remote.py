"""Routes to OpenAI-compatible remote servers, and the keys that are sent to them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_router.routing.remote import with_remote
from fleet_router.routing.table import Endpoint, Origin, Route

SERVERS = (Endpoint("m-0", "127.0.0.1", 9),)


def remote(namespace: str | None = None, **fields: Any) -> Route:
    address = {"address": "https://far.test/base", **fields}
    spec = {"model": "m", "engine": "remote", "remote": address}
    origin = Origin(namespace, "m") if namespace is not None else None
    return Route(ModelSpec.model_validate(spec), SERVERS, origin=origin)


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
    ],
)
def test_an_allowed_variable_is_the_key(
    name: str | None, environ: dict[str, str], key: str
) -> None:
    assert with_remote(remote(apiKeyEnv=name), environ).endpoints[0].key == key


@pytest.mark.parametrize("allowed", ["B", ""])
def test_a_refused_key_leaves_no_endpoint(allowed: str) -> None:
    found = with_remote(remote(apiKeyEnv="A"), {"REMOTE_KEYS": allowed, "A": "secret"})
    assert (found.endpoints, found.reason) == ((), "RemoteKeyRefused")


def test_a_key_is_bound_to_addresses_and_namespaces() -> None:
    rules = [{"name": "A", "addresses": ["https://far.test/base"], "namespaces": ["team-a"]}]
    environ = {"REMOTE_KEYS": json.dumps(rules), "A": "secret"}
    assert with_remote(remote("team-a", apiKeyEnv="A"), environ).endpoints[0].key == "secret"
    for other in (
        remote("team-b", apiKeyEnv="A"),
        remote(apiKeyEnv="A"),
        remote("team-a", apiKeyEnv="A", address="https://evil.test/base"),
        remote("team-a", apiKeyEnv="A", address="http://far.test/base"),
    ):
        assert with_remote(other, environ).endpoints == ()


def test_a_refused_key_is_logged_without_its_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        with_remote(remote(apiKeyEnv="A"), {"REMOTE_KEYS": "B", "A": "secret"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "remote_key_refused"
    assert vars(record)["fields"] == {"model": "m", "why": "the key A is not one of remoteKeys"}
