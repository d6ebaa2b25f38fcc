"""The spec of a server, written to and read from the environment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract import catalog, launch
from fleet_contract.names import ENV_SPEC
from fleet_contract.spec import ModelSpec


@pytest.mark.parametrize("spec", catalog.load().values(), ids=lambda spec: spec.model)
def test_every_catalog_model_survives(spec: ModelSpec) -> None:
    assert launch.decode(launch.encode(spec)) == spec


def test_the_environment_holds_the_specs_own_variables_and_the_spec() -> None:
    spec = ModelSpec.model_validate({"model": "m", "env": {"MAX_STOP": "2", "OTHER": "ü"}})
    environ = launch.encode(spec)
    assert environ["OTHER"] == "ü"
    assert json.loads(environ[ENV_SPEC])["model"] == "m"
    assert launch.decode(environ).limits.max_stop == 2


def test_values_of_secrets_are_not_in_the_environment_of_a_process() -> None:
    source = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    spec = ModelSpec.model_validate({"model": "m", "env": {"A": source, "B": "1"}})
    assert set(launch.encode(spec)) == {"B", ENV_SPEC}
    assert spec.plain_env == {"B": "1"}


def test_the_environment_overrides_single_fields() -> None:
    spec = ModelSpec.model_validate({"model": "m", "limits": {"maxQueueSize": 9}})
    environ = launch.encode(spec) | {"MAX_QUEUE_SIZE": "3"}
    assert launch.decode(environ).limits.max_queue_size == 3


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "is not set"),
        ({ENV_SPEC: ""}, "is not set"),
        ({ENV_SPEC: "{"}, "not a valid ModelSpec"),
        ({ENV_SPEC: "[]"}, "not a valid ModelSpec"),
        ({ENV_SPEC: '{"model": "m", "nonsense": 1}'}, "nonsense"),
    ],
)
def test_invalid_values_name_the_variable(environ: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        launch.decode(environ)
    assert ENV_SPEC in str(caught.value)
