"""The number of sequences in a pass of the torch engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fleet_contract.spec import ModelSpec
from fleet_server.engines.torch.chat import ROWS, _bounds


@pytest.mark.parametrize(
    ("fields", "can_batch", "rows"),
    [
        ({}, True, ROWS["cpu"]),
        ({"limits": {"maxConcurrent": 1}}, True, ROWS["cpu"]),
        ({"limits": {"maxConcurrent": 1}, "batching": {"maxSize": 5}}, True, 5),
        ({"limits": {"maxConcurrent": 4}, "batching": {"enabled": False}}, True, 1),
        ({"batching": {"maxSize": 5}}, False, 1),
    ],
)
def test_rows(fields: dict[str, Any], can_batch: bool, rows: int) -> None:
    forward: Any = SimpleNamespace(
        device=torch.device("cpu"), can_batch=can_batch, bytes_per_token=lambda: 1
    )
    assert _bounds(ModelSpec.model_validate({"model": "m"} | fields), forward).rows == rows
