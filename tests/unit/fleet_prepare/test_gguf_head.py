"""Control tokens of a GGUF; tests/unit/fleet_server/engines/openvino/test_gguf.py has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest

from fleet_prepare import gguf_head

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = (
    gguf.TokenType.NORMAL, gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL,
    gguf.TokenType.USER_DEFINED,
)  # fmt: skip
VOCABULARY: list[tuple[str, Any]] = [
    ("<unk>", UNKNOWN), ("<|im_end|>", CONTROL), ("[INST]", USER_DEFINED), ("word", NORMAL),
    ("<b>", NORMAL), ("  ", USER_DEFINED), ("<think>", USER_DEFINED), ("bare", CONTROL),
]  # fmt: skip


def write(path: Path, tokens: list[str], kinds: list[Any] | None) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("general.tags", ["a", "b"])
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    if kinds is not None:
        writer.add_token_types(kinds)
    writer.add_chat_template("{{ messages }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_control_tokens_are_those_of_the_type_and_those_in_brackets(tmp_path: Path) -> None:
    tokens, kinds = zip(*VOCABULARY, strict=True)
    path = write(tmp_path / "m.gguf", list(tokens), list(kinds))
    found = gguf_head.control_tokens(path)
    assert list(found) == ["<|im_end|>", "[INST]", "<think>", "bare"]
    assert [gguf_head.tokens(path)[number] for number in found.values()] == list(found)


def test_a_vocabulary_without_types_has_no_control_tokens(tmp_path: Path) -> None:
    assert gguf_head.control_tokens(write(tmp_path / "m.gguf", ["<s>", "a"], None)) == {}


@pytest.mark.parametrize("length", [0, 3, 23, 24, 60, 200])
def test_a_file_that_ends_early_has_no_control_tokens(tmp_path: Path, length: int) -> None:
    tokens, kinds = zip(*VOCABULARY, strict=True)
    path = write(tmp_path / "m.gguf", list(tokens), list(kinds))
    assert path.stat().st_size > 200
    path.write_bytes(path.read_bytes()[:length])
    assert gguf_head.control_tokens(path) == {}


def test_no_gguf_has_no_control_tokens(tmp_path: Path) -> None:
    assert gguf_head.control_tokens(tmp_path / "missing.gguf") == {}
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04" + bytes(64))
    assert gguf_head.control_tokens(other) == {}


def test_an_absurd_vocabulary_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, kinds = zip(*VOCABULARY, strict=True)
    path = write(tmp_path / "m.gguf", list(tokens), list(kinds))
    monkeypatch.setattr(gguf_head, "MAX_TOKENS", len(tokens) - 1)
    assert gguf_head.control_tokens(path) == {}


def write_heads(path: Path, key: str, heads: list[int]) -> Path:
    writer = gguf.GGUFWriter(path, "deci")
    writer.add_array(key, heads)
    writer.add_context_length(64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("key", ["attention.head_count", "attention.head_count_kv"])
def test_heads_of_each_layer_are_read(tmp_path: Path, key: str) -> None:
    path = write_heads(tmp_path / "m.gguf", f"deci.{key}", [4, 0, 2])
    found = {"general.architecture": "deci", f"deci.{key}": (4, 0, 2), "deci.context_length": 64}
    assert gguf_head.metadata(path) == found


def test_other_and_longer_lists_are_skipped(tmp_path: Path) -> None:
    rest = {"general.architecture": "deci", "deci.context_length": 64}
    path = write_heads(tmp_path / "m.gguf", "deci.feed_forward_length", [4, 0, 2])
    assert gguf_head.metadata(path) == rest
    many = [1] * (gguf_head.MAX_LAYERS + 1)
    path = write_heads(tmp_path / "m.gguf", "deci.attention.head_count", many)
    assert gguf_head.metadata(path) == rest
