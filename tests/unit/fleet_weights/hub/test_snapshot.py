"""Which snapshots of the hub's cache are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_weights.hub.snapshot import LARGEST_GRAPH, is_complete

CONFIG = {"config.json": b"{}", "tokenizer.json": b"{}"}
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors",
                                   "b": "model-00002-of-00002.safetensors"}}).encode()  # fmt: skip
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
MODULES = json.dumps([
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]).encode()  # fmt: skip


def location(name: bytes) -> bytes:
    """How an ONNX graph names a file of tensors (StringStringEntryProto)."""
    return b"\x08\x07junk\x6a\x20\x0a\x08location\x12" + bytes([len(name)]) + name + b"\x70\x01"


WHOLE: dict[str, dict[str, bytes]] = {
    "safetensors": CONFIG | {"model.safetensors": b"x"},
    "shards": CONFIG | {"model.safetensors.index.json": INDEX, FIRST: b"x", SECOND: b"x"},
    "sentence-transformers": CONFIG | {
        "model.safetensors": b"x", "modules.json": MODULES, "1_Pooling/config.json": b"{}",
        "2_Dense/config.json": b"{}", "2_Dense/model.safetensors": b"x",
    },
    "ctranslate2": {"model.bin": b"x", "config.json": b"{}", "vocabulary.json": b"[]"},
    "openvino": CONFIG | {"openvino_model.xml": b"x", "openvino_model.bin": b"x"},
    "onnx": CONFIG | {"onnx/model.onnx": b"x"},
    "onnx with tensors elsewhere": CONFIG | {
        "pytorch_model.bin": b"x", "onnx/model.onnx_data": b"x", "onnx/Constant_7": b"x",
        "onnx/model.onnx": location(b"model.onnx_data") + location(b"Constant_7"),
    },
    "gguf": {"model-Q8_0.gguf": b"x"},
    "safetensors beside a pickle": CONFIG | {"model.safetensors": b"x", "pytorch_model.bin": b"x"},
}  # fmt: skip
LACKING = [
    ("safetensors", "config.json"),
    ("safetensors", "tokenizer.json"),
    ("safetensors", "model.safetensors"),
    ("shards", SECOND),
    ("sentence-transformers", "2_Dense/model.safetensors"),
    ("ctranslate2", "vocabulary.json"),
    ("openvino", "openvino_model.bin"),
    ("onnx with tensors elsewhere", "onnx/model.onnx_data"),
    ("onnx with tensors elsewhere", "onnx/Constant_7"),
    ("safetensors beside a pickle", "model.safetensors"),
]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("kind", WHOLE)
def test_complete_snapshots(tmp_path: Path, kind: str) -> None:
    assert is_complete(write(tmp_path, WHOLE[kind]))


@pytest.mark.parametrize(("kind", "lacking"), LACKING)
def test_snapshots_without_a_required_file(tmp_path: Path, kind: str, lacking: str) -> None:
    left = {name: content for name, content in WHOLE[kind].items() if name != lacking}
    assert not is_complete(write(tmp_path, left))


def test_a_file_without_its_link_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path, WHOLE["safetensors"])
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "blobs/none")
    assert not is_complete(folder)


@pytest.mark.parametrize("index", [b"{", b"[]", b"{}", b'{"weight_map": []}'])
def test_a_broken_index(tmp_path: Path, index: bytes) -> None:
    files = WHOLE["shards"] | {"model.safetensors.index.json": index}
    assert not is_complete(write(tmp_path, files))


def test_a_large_graph_holds_its_tensors(tmp_path: Path) -> None:
    folder = write(tmp_path, WHOLE["onnx"])
    with (folder / "onnx/model.onnx").open("wb") as graph:
        graph.truncate(LARGEST_GRAPH + 1)
    assert is_complete(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert not is_complete(tmp_path / "none")
