"""Which files may be weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_weights.allowed import check_content, check_path, is_allowed
from fleet_weights.errors import WeightsError


@pytest.mark.parametrize(
    "path",
    ["model.safetensors", "a.gguf", "onnx/model.onnx", "onnx/model.onnx_data", "config.json",
     "tokenizer.model", "vocab.txt", "1_Pooling/config.json", "model.bin", "chat_template.jinja"],
)  # fmt: skip
def test_allows(path: str) -> None:
    assert is_allowed(path)


@pytest.mark.parametrize(
    "path",
    ["pytorch_model.bin", "original/consolidated.00.pth", "a.pt", "modeling_x.py", "a.pkl",
     "flax_model.msgpack", "tf_model.h5", "README.md", ".gitattributes", ".cache/x.json", "a.so"],
)  # fmt: skip
def test_does_not_allow(path: str) -> None:
    assert not is_allowed(path)


def test_a_bin_belongs_to_its_xml() -> None:
    assert is_allowed("openvino/m.bin", {"openvino/m.xml", "openvino/m.bin"})
    assert not is_allowed("openvino/m.bin", {"m.xml", "openvino/m.bin"})


@pytest.mark.parametrize("head", [b"PK\x03\x04rest", b"\x80\x02\x8a"])
def test_a_pickle_by_another_name_is_refused(tmp_path: Path, head: bytes) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(head)
    with pytest.raises(WeightsError, match="pickle"):
        check_content(file)


def test_ctranslate2_files_are_not_pickles(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"\x06\x00\x00\x00\x0c\x00WhisperSpec")
    check_content(file)


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a\\..\\x", "C:/x", "", "a\0b"]
)
def test_paths_that_lead_outside_are_refused(path: str) -> None:
    with pytest.raises(WeightsError, match="outside"):
        check_path(path, "the listing")
