"""Estimated and measured memory of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import Dtype, Engine, ModelSpec
from fleet_local.demand.sizes import CHAT_CACHE, ON_A_DEVICE, Sizes, estimate
from fleet_prepare.choose import EngineChoice
from fleet_prepare.prepare import PreparedModel
from fleet_weights.hub.selection import WeightsFormat

MIB = 1 << 20


def prepared(
    folder: Path,
    engine: Engine,
    kind: WeightsFormat | None = None,
    dtype: Dtype = Dtype.AUTO,
) -> PreparedModel:
    return PreparedModel(folder, EngineChoice(engine, "m:C", "cpu", "", kind, dtype=dtype))


def spec(task: str = "chat", **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": task, "source": "file:///m", **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two formats; sparse files have a size and take no space."""
    for name, size in (("model.safetensors", 100 * MIB), ("onnx/model.onnx", 900 * MIB)):
        path = tmp_path / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
    return tmp_path / "weights"


def test_only_the_weights_that_are_loaded_count(folder: Path) -> None:
    torch = estimate(spec("speech"), prepared(folder, Engine.TORCH, WeightsFormat.SAFETENSORS))
    onnx = estimate(spec("speech"), prepared(folder, Engine.TORCH, WeightsFormat.ONNX))
    assert 100 * MIB < torch < 900 * MIB < onnx
    (file,) = folder.glob("*.safetensors")
    assert estimate(spec("speech"), prepared(file, Engine.TORCH, WeightsFormat.GGUF)) == torch
    converted = prepared(folder, Engine.TORCH, WeightsFormat.GGUF)  # none of that kind
    assert estimate(spec("speech"), converted) > onnx


def test_the_cache_of_a_chat_model_counts(folder: Path) -> None:
    model = prepared(folder, Engine.OPENVINO, WeightsFormat.SAFETENSORS)
    assert estimate(spec(), model) - estimate(spec("speech"), model) == CHAT_CACHE
    named = estimate(spec(cache={"kvGib": 4}), model)
    assert named - estimate(spec("speech"), model) == 4 * 1024 * MIB
    for engine in (Engine.LLAMACPP, Engine.VLLM):  # which allocate it as a whole
        other = prepared(folder, engine, WeightsFormat.SAFETENSORS)
        whole = estimate(spec(), other) - estimate(spec("speech"), other)
        assert whole == spec().cache.kv_bytes > CHAT_CACHE


def test_a_handler_and_a_gpu(tmp_path: Path, folder: Path) -> None:
    handler = {"handler": "acme.Model"}
    bare = estimate(spec("embedding", source=None, **handler), prepared(folder, Engine.CUSTOM))
    own = estimate(spec("embedding", **handler), prepared(folder, Engine.CUSTOM))
    assert 0 < bare < 1000 * MIB < own
    choice = EngineChoice(Engine.TORCH, "m:C", "cuda:1", "", WeightsFormat.SAFETENSORS)
    assert estimate(spec(), PreparedModel(folder, choice)) == ON_A_DEVICE


def test_vllm_in_float32_takes_more(folder: Path) -> None:
    of = {
        dtype: estimate(spec(), prepared(folder, Engine.VLLM, WeightsFormat.SAFETENSORS, dtype))
        for dtype in (Dtype.BFLOAT16, Dtype.FLOAT32)
    }
    assert of[Dtype.FLOAT32] > of[Dtype.BFLOAT16]


def test_measured_sizes_are_kept(tmp_path: Path, folder: Path) -> None:
    model = prepared(folder, Engine.OPENVINO, WeightsFormat.SAFETENSORS)
    vllm = prepared(folder, Engine.VLLM, WeightsFormat.SAFETENSORS)
    kept = Sizes(tmp_path / "memory.json")
    assert kept.of(spec(), model) == estimate(spec(), model)
    kept.note(spec(), model, 7 * MIB)
    for each in (kept, Sizes(tmp_path / "memory.json")):
        assert each.of(spec(), model) == 7 * MIB
        assert each.of(spec(), vllm) == estimate(spec(), vllm)
        larger = spec(cache={"kvGib": 4})
        assert each.of(larger, model) == estimate(larger, model)
    kept.note(spec(), vllm, 8 * MIB)
    assert (kept.of(spec(), vllm), kept.of(spec(), model)) == (8 * MIB, 7 * MIB)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"m weights": "many"}', '{"m weights": -1}'])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, folder: Path, text: str) -> None:
    (tmp_path / "memory.json").write_text(text)
    model = prepared(folder, Engine.OPENVINO, WeightsFormat.SAFETENSORS)
    assert Sizes(tmp_path / "memory.json").of(spec(), model) == estimate(spec(), model)
