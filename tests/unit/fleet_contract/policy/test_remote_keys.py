"""Where keys of remote servers may be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.policy.remote_keys import covers, parse, refusal


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("https://api.test", "https://api.test"),
        ("https://api.test", "https://API.test:443/v1/deep"),
        ("https://api.test/", "https://api.test/v1"),
        ("https://api.test/v1", "https://api.test/v1"),
        ("https://api.test/v1/", "https://api.test/v1/deep"),
        ("https://api.test:8443/v1", "https://api.test:8443/v1/"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]/v1"),
        ("https://", "https://any.test:9/path"),
        ("http://intern.test:8000", "http://intern.test:8000/v1"),
        ("http://", "http://intern.test"),
        ("http://intern.test", "http://intern.test:80/v1"),
        ("https://api.test:443", "https://api.test"),
    ],
)
def test_a_prefix_covers(allowed: str, address: str) -> None:
    assert covers(allowed, address)


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("https://api.test", "http://api.test"),
        ("https://", "http://api.test"),
        ("http://api.test", "https://api.test"),
        ("https://api.test", "https://api.test.evil.example"),
        ("https://api.test", "https://evil.example/api.test"),
        ("https://api.test", "https://api.test@evil.example"),
        ("https://api.test", "https://api.test:8443"),
        ("https://api.test", "https://api.test:port"),
        ("https://api.test/v1", "https://api.test/v10"),
        ("https://api.test/v1", "https://api.test"),
        ("https://api.test/v1", "https://api.test/V1"),
        ("https://api.test/v1", "https://api.test/v1/../v2"),
        ("https://api.test/v1", "https://api.test/v1/%2e%2E/v2"),
        ("https://api.test/v1", "https://api.test/v1/a%2f..%2f..%2fv2"),
        ("https://api.test/v1", "https://api.test/v1\\..\\v2"),
    ],
)
def test_a_prefix_does_not_cover(allowed: str, address: str) -> None:
    assert not covers(allowed, address)


def test_names_alone_are_for_every_https_address() -> None:
    keys = parse(" A,, B ")
    assert [key.name for key in keys] == ["A", "B"]
    assert refusal(keys, "B", "https://any.test", "ns") is None
    assert refusal(keys, "B", "http://any.test", "ns") == (
        "the key B may not be sent to http://any.test, only to https://"
    )
    assert parse("") == parse("[]") == ()


def rules(*given: dict[str, Any]) -> str:
    return json.dumps(given)


def test_each_rule_has_its_own_addresses_and_namespaces() -> None:
    keys = parse(rules(
        {"name": "A", "addresses": ["https://one.test"], "namespaces": ["a", "b"]},
        {"name": "A", "addresses": ["https://two.test"], "namespaces": ["c"]},
        {"name": "B", "addresses": ["https://two.test"]},
    ))  # fmt: skip
    assert refusal(keys, "A", "https://one.test/v1", "b") is None
    assert refusal(keys, "A", "https://two.test/v1", "c") is None
    assert refusal(keys, "B", "https://two.test", "any") is None
    assert refusal(keys, "A", "https://two.test", "a") == (
        "the key A may not be sent to https://two.test, only to https://one.test"
    )
    assert refusal(keys, "A", "https://one.test", "d") == (
        "the key A may not be used by models in the namespace 'd'"
    )
    assert refusal(keys, "C", "https://one.test", "a") == "the key C is not one of remoteKeys"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A-B", "name: String should match"),
        (rules({"name": "A"}), "0[.]addresses: Field required"),
        (rules({"name": "A", "addresses": []}), "0[.]addresses: List should have at least 1"),
        (rules({"name": "A", "addresses": ["api.test"]}), "0[.]addresses[.]0: String"),
        (rules({"name": "A", "addresses": ["https://u@api.test"]}), "0[.]addresses[.]0: String"),
        (
            rules(
                {"name": "B", "addresses": ["http://"]},
                {"name": "A", "addresses": ["http://"], "x": 1},
            ),
            "1[.]x: Extra inputs",
        ),
        ("[{", "Invalid JSON"),
    ],
)
def test_malformed_rules(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        parse(text)
