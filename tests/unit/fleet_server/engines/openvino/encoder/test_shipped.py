"""Ready-made graphs: ONNX files written here field by field, with the names exporters use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import EmbeddingEngine, RerankEngine
from fleet_server.load_error import LoadError

Write = Callable[..., Path]
FLOAT, INT64 = 1, 7
TABLE = np.random.default_rng(5).standard_normal((64, 16)).astype(np.float32)
USUAL = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
RANKS = {"last_hidden_state": 3, "sentence_embedding": 2, "logits": 2}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    """One protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def value_info(name: str, kind: int, rank: int) -> bytes:
    shape = b"".join(field(1, field(2, f"{name}_{axis}")) for axis in range(rank))
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def tensor(name: str, array: np.ndarray) -> bytes:
    kind = FLOAT if array.dtype == np.float32 else INT64
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, kind) + field(8, name) + field(9, array.tobytes())


def node(kind: str, inputs: list[str], output: str, **integers: int) -> bytes:
    attributes = b"".join(
        field(5, field(1, name) + field(3, value) + field(20, 2))
        for name, value in integers.items()
    )
    names = b"".join(field(1, name) for name in inputs)
    return names + field(2, output) + field(4, kind) + attributes


def write_onnx(folder: Path, *outputs: str, inputs: tuple[str, ...] = USUAL) -> None:
    """Token vectors are looked up in TABLE, a sentence vector is their largest values, a logit
    its product with TABLE's first row."""
    nodes = (
        node("Gather", ["table", "input_ids"], "last_hidden_state"),
        node("ReduceMax", ["last_hidden_state", "axis"], "sentence_embedding", keepdims=0),
        node("MatMul", ["sentence_embedding", "head"], "logits"),
    )
    constants = {"table": TABLE, "head": TABLE[:1].T.copy(), "axis": np.array([1])}
    graph = b"".join(field(1, made) for made in nodes) + field(2, "tiny")
    graph += b"".join(field(5, tensor(name, array)) for name, array in constants.items())
    graph += b"".join(field(11, value_info(name, INT64, 2)) for name in inputs)
    graph += b"".join(field(12, value_info(name, FLOAT, RANKS[name])) for name in outputs)
    (folder / "onnx").mkdir(exist_ok=True)
    model = field(1, 10) + field(8, field(1, "") + field(2, 18)) + field(7, graph)
    (folder / "onnx" / "model.onnx").write_bytes(model)


@pytest.fixture
def folder(tiny_encoder: Write) -> Path:
    made = tiny_encoder()
    (made / "model.safetensors").unlink()
    return made


def spec(task: str = "embedding", **fields: str) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny", "task": task, "dtype": "float32"} | fields)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


IDS = [[2, 9, 10, 3], [2, 7, 3]]


def test_token_vectors_are_pooled(folder: Path) -> None:
    write_onnx(folder, "last_hidden_state")
    mean = np.stack([TABLE[ids].mean(0) for ids in IDS])
    assert EmbeddingEngine(spec(), folder, 1).embed(IDS) == pytest.approx(unit(mean), abs=1e-5)
    cls = np.stack([TABLE[ids[0]] for ids in IDS])
    found = EmbeddingEngine(spec(pooling="cls"), folder, 1).embed(IDS)
    assert found == pytest.approx(unit(cls), abs=1e-5)


def test_a_sentence_vector_of_the_graph_is_preferred(folder: Path) -> None:
    write_onnx(folder, "last_hidden_state", "sentence_embedding", inputs=USUAL[:2])
    ids = [IDS[0]]
    largest = TABLE[ids[0]].max(0, keepdims=True)
    assert EmbeddingEngine(spec(), folder, 1).embed(ids) == pytest.approx(unit(largest), abs=1e-5)
    mean = TABLE[ids[0]].mean(0, keepdims=True)
    found = EmbeddingEngine(spec(pooling="mean"), folder, 1).embed(ids)
    assert found == pytest.approx(unit(mean), abs=1e-5)


def test_a_cross_encoder(folder: Path) -> None:
    write_onnx(folder, "logits")
    ids = [IDS[0]]
    expected = TABLE[ids[0]].max(0) @ TABLE[0]
    found = RerankEngine(spec("rerank"), folder, 1).score(ids)
    assert found == pytest.approx(np.array([expected]), abs=1e-4)


def test_graphs_that_do_not_fit_are_refused(folder: Path) -> None:
    write_onnx(folder, "last_hidden_state", inputs=(*USUAL, "past_key_values.0.key"))
    with pytest.raises(LoadError, match=r"past_key_values\.0\.key"):
        EmbeddingEngine(spec(), folder, 1)
    write_onnx(folder, "logits")
    with pytest.raises(LoadError, match="logits"):
        EmbeddingEngine(spec(), folder, 1)
    write_onnx(folder, "last_hidden_state")
    with pytest.raises(LoadError, match="logits"):
        RerankEngine(spec("rerank"), folder, 1)
    (folder / "onnx" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(LoadError, match=r"model\.onnx"):
        EmbeddingEngine(spec(), folder, 1)
