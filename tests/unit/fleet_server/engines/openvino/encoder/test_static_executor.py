"""Graphs of fixed shapes, run on a CPU and compared with graphs of any shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import EmbeddingEngine, loading, static_executor
from fleet_server.engines.openvino.encoder.static_executor import StaticExecutor, graph_length
from fleet_server.load_error import LoadError

Write = Callable[..., Path]
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11 w12 w13 w14", " ".join(["w3"] * 22)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[StaticExecutor]:
    """The static executors that are built, with graphs for 8, 16 and 24 tokens, on the CPU."""
    found: list[StaticExecutor] = []

    def build(model: Any, plugin: str, properties: Any, *rest: Any, **more: Any) -> StaticExecutor:
        assert (plugin, properties) == ("NPU", {"INFERENCE_PRECISION_HINT": "f16"})
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        found.append(StaticExecutor(model, "CPU", exact, *rest, **more))
        return found[-1]

    monkeypatch.setattr(static_executor, "SHORTEST", 8)
    monkeypatch.setattr(loading, "StaticExecutor", build)
    return found


def engine(folder: Path, **fields: Any) -> EmbeddingEngine:
    spec = {"model": "tiny", "task": "embedding", **fields}
    return EmbeddingEngine(ModelSpec.model_validate(spec), folder, 1)


def test_an_npu_computes_the_same_vectors(tiny_encoder: Write, made: list[StaticExecutor]) -> None:
    folder = tiny_encoder()
    on_cpu, on_npu = engine(folder, dtype="float32"), engine(folder, device="npu")
    assert (on_cpu.device, on_npu.device) == ("cpu", "npu")
    batch = on_cpu.tokenize(TEXTS)
    expected = on_cpu.embed(batch)
    assert on_npu.embed(batch) == pytest.approx(expected, abs=1e-5)
    assert on_npu.embed_concurrent(batch[:1]) == pytest.approx(expected[:1], abs=1e-5)
    assert sorted(made[0]._requests) == [8, 16, 24]
    on_npu.close()
    with pytest.raises(RuntimeError, match="closed"):
        on_npu.embed(batch)


def test_a_missing_device_is_an_error_of_the_load(tiny_encoder: Write) -> None:
    with pytest.raises(LoadError, match="cannot compile the graph"):
        engine(tiny_encoder(), device="npu")
    with pytest.raises(LoadError, match="cannot compile the graph"):
        engine(tiny_encoder(), device="gpu")


def test_lengths_of_graphs() -> None:
    assert [graph_length(n, 512) for n in (1, 64, 65, 300, 512)] == [64, 64, 128, 512, 512]
    assert graph_length(20, 24) == 24
