"""Secrets that env and envFrom may refer to."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.policy.secret_references import refusal

OWN = {"valueFrom": {"secretKeyRef": {"name": "own", "key": "k"}}}
HUB = {"valueFrom": {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}}


@pytest.mark.parametrize(
    "spec",
    [
        {"env": {"A": OWN}},
        {"env": {"A": "text", "B": OWN}},
        {"env": [{"name": "A", **OWN}]},
        {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "own"}}]},
        {"s3": {"endpoint": "https://s3.example.com", "secretRef": {"name": "own"}}},
    ],
)
def test_models_in_the_namespace_of_the_release_refer_to_no_secret(spec: dict[str, Any]) -> None:
    assert refusal(spec, True, ()) == (
        f"{next(iter(spec))}: refers to the Secret 'own', but models in the namespace of the"
        " release may not refer to Secrets; move the model to another namespace"
    )
    assert refusal(spec, False, ("hub",)) is None


def test_secrets_of_the_platform_are_refused_everywhere() -> None:
    assert refusal({"env": {"A": OWN, "B": HUB}}, False, ("hub",)) == (
        "env: the Secret 'hub' belongs to the platform; use another Secret"
    )
    named = {"envFrom": [{"secretRef": {"name": "hub"}}]}
    assert refusal(named, False, ("hub",)) == (
        "envFrom: the Secret 'hub' belongs to the platform; use another Secret"
    )


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"env": {"secretKeyRef": "text", "A": "secretRef"}},
        {"env": {"A": {"valueFrom": {"configMapKeyRef": {"name": "hub", "key": "k"}}}}},
        {"envFrom": [{"configMapRef": {"name": "hub"}}]},
    ],
)
def test_what_refers_to_no_secret(spec: dict[str, Any]) -> None:
    assert refusal(spec, True, ("hub",)) is None
