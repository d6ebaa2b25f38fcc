"""The number of sequences in a pass of the torch engine, and their length."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fleet_contract.spec import ModelSpec
from fleet_server.engines.torch.chat import ROWS, _bounds, _context_length
from fleet_server.load_error import LoadError


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


@pytest.mark.parametrize(
    ("fields", "own", "kv_tokens", "length", "warned"),
    [
        ({}, 4096, 5000, 4096, False),
        ({}, 4096, 1000, 1000, True),
        ({"contextLength": 2000}, 4096, 1000, 2000, True),
        ({"contextLength": 2000}, None, 2000, 2000, False),
    ],
)
def test_the_context_is_what_the_cache_holds(
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any], own: int | None, kv_tokens: int, length: int, warned: bool,
) -> None:  # fmt: skip
    spec = ModelSpec.model_validate({"model": "m"} | fields)
    assert _context_length(spec, config_of(own), kv_tokens) == length
    assert ("cache.kvGib" in caplog.text) == warned


def test_a_context_beyond_the_models_is_refused() -> None:
    spec = ModelSpec.model_validate({"model": "m", "contextLength": 5000})
    with pytest.raises(LoadError, match="supports 4096"):
        _context_length(spec, config_of(4096), 10_000)
    with pytest.raises(LoadError, match="no context length"):
        _context_length(ModelSpec.model_validate({"model": "m"}), config_of(None), 10_000)


def config_of(positions: int | None) -> Any:
    """A model's configuration."""
    text = SimpleNamespace(max_position_embeddings=positions)
    return SimpleNamespace(get_text_config=lambda: text)
