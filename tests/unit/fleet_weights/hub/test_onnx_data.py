"""Names of external data, read from graphs that the onnx package writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fleet_weights.errors import WeightsError
from fleet_weights.hub import onnx_data
from fleet_weights.hub.onnx_data import external_files


def external(name: str, location: str, key: str = "location") -> TensorProto:
    made = numpy_helper.from_array(np.zeros((2, 2), np.float32), name)
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    for each, value in ((key, location), ("offset", "0"), ("length", "16")):
        made.external_data.add(key=each, value=value)
    return made


def constant(name: str, tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name=name, value=tensor)


def model(
    nodes: list[onnx.NodeProto], initializers: list[TensorProto], **more: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "main", [], [], initializers)
    return helper.make_model(graph, **more)


@pytest.fixture
def names(tmp_path: Path) -> Callable[[onnx.ModelProto], list[str]]:
    def read(of: onnx.ModelProto) -> list[str]:
        path = tmp_path / "model.onnx"
        path.write_bytes(of.SerializeToString())
        return external_files(path)

    return read


def test_initializers_and_attributes_of_nodes(names: Callable[..., list[str]]) -> None:
    """As in BAAI/bge-m3; a name that several tensors share is given once."""
    inline = numpy_helper.from_array(np.ones((50, 50), np.float32), "inline")
    value = external("", "Constant_7_attr__value")
    tensors = [external("a", "model.onnx_data"), inline, external("b", "./model.onnx_data")]
    assert names(model([constant("c", value)], tensors)) == [
        "Constant_7_attr__value",
        "model.onnx_data",
    ]


def test_inner_graphs_functions_and_sparse_tensors(names: Callable[..., list[str]]) -> None:
    then = helper.make_graph([constant("t", external("", "then"))], "then", [], [])
    other = helper.make_graph([], "else", [], [], [external("e", "else.weight")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=then, else_branch=other)
    body = helper.make_function(
        "local", "F", [], ["f"], [constant("f", external("", "function"))], []
    )
    sparse = helper.make_sparse_tensor(
        external("values", "values"), external("indices", "indices"), [4, 4]
    )
    made = model([branch], [], functions=[body])
    made.graph.sparse_initializer.append(sparse)
    assert set(names(made)) == {"then", "else.weight", "function", "values", "indices"}


def test_a_graph_that_holds_its_tensors_itself(names: Callable[..., list[str]]) -> None:
    inline = numpy_helper.from_array(np.ones((50, 50), np.float32), "location")
    assert names(model([constant("c", inline)], [inline])) == []


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "data/model", "..", ".hidden", "C:model", "a\\b", "", "a\0b"],
)
def test_a_file_elsewhere_is_refused(location: str, names: Callable[..., list[str]]) -> None:
    with pytest.raises(WeightsError, match="not in the same folder") as caught:
        names(model([], [external("a", location)]))
    assert "external data" in caught.value.hint


@pytest.mark.parametrize("location", ["pytorch_model.bin", "weights.pt", "w.pkl"])
def test_a_pickle_is_refused(location: str, names: Callable[..., list[str]]) -> None:
    with pytest.raises(WeightsError, match="suffix of a pickle"):
        names(model([], [external("a", location)]))


def test_invalid_graphs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    whole = model([], [external("a", "model.onnx_data")]).SerializeToString()
    for broken in (b"", b"\xff" * 40, whole[:-3], b"\x3a\x80\x80\x01abc", b"version https://git"):
        path.write_bytes(broken)
        with pytest.raises(WeightsError, match="not a valid ONNX file"):
            external_files(path)


def test_a_name_that_is_too_long_or_not_text(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for location in ("n" * 256, "name"):
        raw = model([], [external("a", location)]).SerializeToString()
        path.write_bytes(raw.replace(b"name", b"\xff\xfe\xfd\xfc"))
        with pytest.raises(WeightsError, match="not a valid ONNX file"):
            external_files(path)


def test_limits(names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    many = model([], [external(f"t{number}", f"f{number}") for number in range(9)])
    monkeypatch.setattr(onnx_data, "MAX_FILES", 8)
    with pytest.raises(WeightsError, match="more than 8 files"):
        names(many)
    monkeypatch.setattr(onnx_data, "MAX_FIELDS", 20)
    with pytest.raises(WeightsError, match="more than 20 fields"):
        names(many)
    inner = helper.make_graph([], "inner", [], [], [external("e", "deep")])
    for _ in range(20):
        inner = helper.make_graph(
            [helper.make_node("Loop", [], [], body=inner)], "g", [], []
        )  # fmt: skip
    monkeypatch.setattr(onnx_data, "MAX_FIELDS", 5000)
    with pytest.raises(WeightsError, match="nested too deeply"):
        names(helper.make_model(inner))
