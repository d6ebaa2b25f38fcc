"""Facts about context and cache in the files of a chat model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from fleet_server.engines.openvino import chat_facts, chat_files
from fleet_server.engines.openvino.chat_facts import CacheShape, ChatFacts

CONFIG: dict[str, Any] = {
    "max_position_embeddings": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
}


def gguf(path: Path, **numbers: int) -> Path:
    writer = GGUFWriter(path, "llama")
    for name, number in numbers.items():
        writer.add_uint32(f"llama.{name.replace('__', '.')}", number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


LLAMA = {
    "context_length": 2048,
    "block_count": 3,
    "embedding_length": 64,
    "attention__head_count": 4,
    "attention__head_count_kv": 2,
}


def ir(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name in (*chat_files.IR_FILES, "openvino_tokenizer.xml"):
        (folder / name).write_text("<net/>")
    return folder


def test_a_gguf(tmp_path: Path) -> None:
    path = gguf(tmp_path / "model.gguf", **LLAMA)
    assert chat_facts.read(path) == ChatFacts(2048, CacheShape(3, 2, 16))


def test_a_gguf_that_names_its_head_size(tmp_path: Path) -> None:
    path = gguf(tmp_path / "model.gguf", **LLAMA, attention__key_length=128)
    assert chat_facts.read(path).cache == CacheShape(3, 2, 128)


def test_the_ir_written_next_to_a_gguf(tmp_path: Path) -> None:
    gguf(tmp_path / "model.gguf", **LLAMA)
    found = chat_files.find(ir(tmp_path / chat_files.IR_FOLDER).parent)
    assert found.name == chat_files.IR_FOLDER
    assert chat_facts.read(found) == ChatFacts(2048, CacheShape(3, 2, 16))


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"text_config": c}])
def test_an_exported_ir(tmp_path: Path, wrap: Any) -> None:
    (ir(tmp_path) / "config.json").write_text(json.dumps(wrap(CONFIG)))
    assert chat_facts.read(tmp_path) == ChatFacts(4096, CacheShape(4, 2, 64))
    (tmp_path / "config.json").write_text(json.dumps(wrap(CONFIG | {"head_dim": 128})))
    assert chat_facts.read(tmp_path).cache == CacheShape(4, 2, 128)


def test_files_without_facts(tmp_path: Path) -> None:
    assert chat_facts.read(ir(tmp_path)) == ChatFacts(None, None)
    assert chat_facts.read(gguf(tmp_path / "model.gguf")) == ChatFacts(None, None)
    (tmp_path / "config.json").write_text('{"max_position_embeddings": "many"}')
    assert chat_facts.read(tmp_path) == ChatFacts(None, None)
