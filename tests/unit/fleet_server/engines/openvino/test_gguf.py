"""GGUF metadata against the format's own writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFWriter

from fleet_prepare import gguf_head


def write(path: Path, architecture: str = "llama") -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_array("general.languages", ["en", "de"])
    writer.add_array("general.numbers", [1, 2, 3])
    writer.add_context_length(8192)
    writer.add_float32(f"{architecture}.rope.freq_base", 0.5)
    writer.add_bool("general.flag", True)
    writer.add_token_list(["a", "b"])
    writer.add_string("tokenizer.chat_template", "{{ messages }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_scalars_are_read_and_lists_skipped(tmp_path: Path) -> None:
    found = gguf_head.metadata(write(tmp_path / "model.gguf"))
    assert found == {
        "general.architecture": "llama",
        "llama.context_length": 8192,
        "llama.rope.freq_base": 0.5,
        "general.flag": True,
    }


@pytest.mark.parametrize("length", [0, 3, 23, 30, 60, 90])
def test_a_truncated_file_is_none(tmp_path: Path, length: int) -> None:
    whole = write(tmp_path / "model.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:length])
    assert gguf_head.metadata(cut) is None


def test_other_files_are_none(tmp_path: Path) -> None:
    assert gguf_head.metadata(tmp_path / "missing.gguf") is None
    (tmp_path / "other.gguf").write_bytes(b"PK\3\4" + b"\0" * 100)
    assert gguf_head.metadata(tmp_path / "other.gguf") is None
    (tmp_path / "lies.gguf").write_bytes(b"GGUF\3\0\0\0" + b"\xff" * 200)
    assert gguf_head.metadata(tmp_path / "lies.gguf") is None
