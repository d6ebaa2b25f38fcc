"""How many requests run at the same time: enough to fill the passes of a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.admission import passes_at_once, places


def spec_with(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": "embedding", **fields})


ENCODER = SimpleNamespace()
LANES = SimpleNamespace(most_lanes=4)
TWO = SimpleNamespace(passes=2)
BATCH = SimpleNamespace(max_concurrent=32)

PLACES: list[tuple[dict[str, Any], SimpleNamespace, int]] = [
    ({}, ENCODER, 64),
    ({"limits": {"maxConcurrent": 1}}, ENCODER, 64),
    ({"limits": {"maxConcurrent": 1}}, LANES, 64),
    ({"limits": {"maxConcurrent": 1}, "batching": {"maxSize": 16}}, LANES, 32),
    ({"batching": {"maxSize": 500}}, ENCODER, 64),
    ({"batching": {"passSize": 8}}, ENCODER, 16),
    ({"limits": {"maxBatchSize": 8}}, ENCODER, 16),
    ({"limits": {"maxBatchSize": 8}, "batching": {"passSize": 4}}, ENCODER, 8),
    ({"batching": {"enabled": False}}, ENCODER, 2),
    ({"batching": {"enabled": False}}, LANES, 5),
    ({}, TWO, 96),
    ({"limits": {"maxConcurrent": 1}}, TWO, 64),
    ({"task": "chat"}, BATCH, 32),
    ({"task": "chat", "limits": {"maxConcurrent": 1}}, BATCH, 32),
]


@pytest.mark.parametrize(("fields", "model", "number"), PLACES)
def test_enough_requests_run_to_fill_the_passes(
    fields: dict[str, Any], model: SimpleNamespace, number: int
) -> None:
    assert places(spec_with(**fields), model) == number


def test_the_bound_on_passes_is_never_raised() -> None:
    assert passes_at_once(spec_with(), TWO) == 2
    assert passes_at_once(spec_with(limits={"maxConcurrent": 1}), TWO) == 1
    assert passes_at_once(spec_with(limits={"maxConcurrent": 9}), TWO) == 2
    assert passes_at_once(spec_with(limits={"maxConcurrent": 9}), ENCODER) == 1
