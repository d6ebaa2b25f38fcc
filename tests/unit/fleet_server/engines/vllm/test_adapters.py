"""Arguments for LoRA adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_server.engines.vllm.adapters import AT_ONCE, WEIGHTS, lora_arguments
from fleet_server.load_error import LoadError


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / WEIGHTS).touch()
    return folder


def test_the_greatest_rank_is_the_bound(tmp_path: Path) -> None:
    assert lora_arguments({}, "cuda") == {}
    both = {"a": adapter(tmp_path / "a", r=4), "b": adapter(tmp_path / "b", r=17)}
    found = lora_arguments(both, "cuda")
    assert (found["enable_lora"], found["max_lora_rank"]) == (True, 32)
    assert (found["max_loras"], found["max_cpu_loras"]) == (2, 2)


def test_ranks_of_single_matrices_count(tmp_path: Path) -> None:
    """vLLM refuses an adapter with a matrix of a greater rank than the bound."""
    folder = adapter(tmp_path / "a", r=8, rank_pattern={"q_proj": 32, "layers.0.v_proj": 4})
    assert lora_arguments({"a": folder}, "cuda")["max_lora_rank"] == 32
    empty = adapter(tmp_path / "b", r=8, rank_pattern={}), adapter(tmp_path / "c", r=8)
    for each in empty:
        assert lora_arguments({"a": each}, "cuda")["max_lora_rank"] == 8


def test_a_batch_has_a_bounded_number_of_adapters(tmp_path: Path) -> None:
    many = {str(number): adapter(tmp_path / str(number), r=4) for number in range(AT_ONCE + 3)}
    found = lora_arguments(many, "cuda")
    assert (found["max_loras"], found["max_cpu_loras"]) == (AT_ONCE, AT_ONCE + 3)


def test_a_place_stays_empty_on_a_cpu(tmp_path: Path) -> None:
    """The last one, which belongs to sequences without an adapter."""
    for number in (1, AT_ONCE + 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = {str(each): adapter(folder / str(each), r=4) for each in range(number)}
        found = lora_arguments(names, "cpu")
        assert (found["max_loras"], found["max_cpu_loras"]) == (number + 1, number + 1)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    """vLLM would open it where there are no safetensors."""
    folder = adapter(tmp_path / "a", r=4)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(LoadError, match=WEIGHTS):
        lora_arguments({"a": folder}, "cuda")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"r": 0},
        {"r": "8"},
        {"r": 513},
        {"r": 8, "rank_pattern": {"q_proj": 513}},
        {"r": 8, "rank_pattern": {"q_proj": 0}},
        {"r": 8, "rank_pattern": {"q_proj": "16"}},
        {"r": 8, "rank_pattern": {"q_proj": True}},
        {"r": 8, "rank_pattern": [16]},
    ],
)
def test_a_rank_that_cannot_be_used_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(LoadError, match="adapter"):
        lora_arguments({"a": adapter(tmp_path / "a", **config)}, "cpu")
