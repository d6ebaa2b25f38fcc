"""The limits of a batcher from the spec and the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.batching.batcher import Batcher
from fleet_server.batching.planner import unpadded


class Recorded(Batcher):
    """Keeps what it is made with and starts no threads."""

    def __init__(self, run_pass: Any, bounds: Any, **more: Any) -> None:
        self.made = SimpleNamespace(run_pass=run_pass, bounds=bounds, **more)


def made(model: Any = None, **batching: Any) -> SimpleNamespace:
    spec = ModelSpec.model_validate(
        {"model": "m", "batching": batching, "limits": {"maxQueueSize": 30}}
    )
    return Recorded.for_model(model or SimpleNamespace(), len, spec, 4).made  # type: ignore[arg-type, attr-defined]


def test_a_queue_holds_those_that_are_admitted_and_those_that_wait() -> None:
    assert made().max_waiting == 34


def test_batching_bounds_requests_and_waits_for_them() -> None:
    found = made(maxSize=5, windowMs=20, maxTokens=999)
    assert (found.bounds.max_requests, found.bounds.max_tokens) == (5, 999)
    assert found.window == pytest.approx(0.02)


def test_without_batching_each_request_is_alone_and_does_not_wait() -> None:
    found = made(enabled=False, maxSize=5, windowMs=20)
    assert (found.bounds.max_requests, found.window) == (1, 0)


def test_a_model_pads_and_divides_the_device_itself() -> None:
    plain = made()
    assert (plain.bounds.padded, plain.lanes) == (unpadded, None)
    model = SimpleNamespace(
        padded_length=lambda length: length + 7, embed_concurrent=max, lanes=2, most_lanes=4
    )
    found = made(model)
    assert found.bounds.padded(1) == 8
    assert (found.lanes.run_pass, found.lanes.count(), found.lanes.most) == (max, 2, 4)
    model.lanes = 3
    assert found.lanes.count() == 3
