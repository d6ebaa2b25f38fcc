"""The condition of a model without the platform's secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_operator.decide.events import Event
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from support.operator_objects import model

Observe = Callable[..., Observed]
PROFILE = Profile.model_validate(
    {"hfTokenSecret": "hub", "s3": {"endpoint": "https://s3", "secretRef": {"name": "keys"}}}
)


@pytest.fixture
def known(sources: Sources) -> Sources:
    return replace(sources, profiles={"default": PROFILE})


def shown(observed: Observed) -> dict[str, Any] | None:
    found = [one for one in reconcile(observed).status["conditions"]
             if one["type"] == "FetchSecrets"]  # fmt: skip
    return found[0] if found else None


def test_the_condition_names_secret_and_field(observe: Observe, known: Sources) -> None:
    raw = model(source="s3://b/m", env={"HTTPS_PROXY": "http://mine"})
    decision = reconcile(observe(raw, sources=known))
    found = shown(observe(raw, sources=known))
    assert found is not None
    assert (found["status"], found["reason"]) == ("False", "SecretsWithheld")
    assert "keys of the bucket" in found["message"]
    assert "env.HTTPS_PROXY" in found["message"]
    assert "HF_TOKEN" not in found["message"]  # a bucket needs none
    assert Event("Warning", "SecretsWithheld", found["message"]) in decision.events
    again = reconcile(observe({**raw, "status": decision.status}, sources=known))
    assert [event for event in again.events if event.reason == "SecretsWithheld"] == []


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"env": {"HF_TOKEN": "mine", "PYTHONPATH": "/x"}},
        {"source": "pvc://claim/m", "image": "mine:1"},
        {"engine": "container", "container": {"image": "other:1"}},
        {"engine": "remote", "remote": {"address": "https://a"}, "env": {"PYTHONPATH": "/x"}},
    ],
)
def test_no_condition(observe: Observe, known: Sources, spec: dict[str, Any]) -> None:
    assert shown(observe(model(**spec), sources=known)) is None


def test_no_condition_without_secrets(observe: Observe) -> None:
    assert shown(observe(model(env={"PYTHONPATH": "/x"}))) is None
