"""Bytes of tokens, from tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_prepare.chat import vocabulary
from fleet_weights.errors import WeightsError
from support import tiny_chat

SENTENCEPIECE: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {"<unk>": 0, "\u2581the": 1, "<0xE6>": 2, "é": 3}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    "added_tokens": [
        {"id": 0, "content": "<unk>", "special": True},
        {"id": 4, "content": "<think>", "special": False},
    ],
}


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_the_pieces_of_a_byte_level_vocabulary_join_to_the_text(kind: str) -> None:
    tokenizer = tiny_chat.tokenizer(kind)
    found = vocabulary.parse(json.loads(tokenizer.to_str()))
    text = "The fox \u2028 wörld 日本語\n\t\x00 👩‍👩‍👧"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert b"".join(found.pieces[index] for index in ids) == text.encode()
    assert found.byte_level
    assert found.special == set(range(len(tiny_chat.SPECIALS[kind])))
    assert found.added == {token: at for at, token in enumerate(tiny_chat.SPECIALS[kind])}


def test_pieces_of_a_sentencepiece_vocabulary() -> None:
    found = vocabulary.parse(SENTENCEPIECE)
    assert [found.pieces[index] for index in range(5)] == [
        b"<unk>", b" the", b"\xe6", "é".encode(), b"<think>",
    ]  # fmt: skip
    assert (found.special, found.byte_level) == ({0}, False)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"model": {}}', b'{"model": {"vocab": {"a": -1}}}',
     b'{"model": {"vocab": {"a": 99999999999}}}', b'{"model": {"vocab": {"a": "b"}}}',
     b'{"model": {"vocab": {}}}', b'{"model": {"vocab": []}, "added_tokens": [{}]}',
     b"[" * 100_000, b"\xff"],
)  # fmt: skip
def test_an_invalid_tokenizer_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        vocabulary.read(tmp_path / "tokenizer.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokenizer\.json"):
        vocabulary.read(tmp_path / "tokenizer.json")
