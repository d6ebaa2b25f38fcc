from __future__ import annotations

import pytest

from fleet_server.engines.special_text import SpecialText
from fleet_server.engines.text_chunks import chunks

SPECIAL = SpecialText(["<|end|>", "<|start of turn|>"])
CHUNK_BYTES = 8000


@pytest.mark.parametrize(
    "text",
    [
        "word " * 3000,
        "字" * 9000,
        " a" * 5000,
        "\n" * 9000,
        "é w" * 9000,
        "🎈" * 5000,
        "\ud800" * 9000,
    ],
)
def test_chunks_are_the_text(text: str) -> None:
    parts = list(chunks(text, SPECIAL, CHUNK_BYTES))
    assert "".join(parts) == text
    assert all(0 < len(part.encode(errors="replace")) <= CHUNK_BYTES for part in parts)


def test_a_text_takes_the_fewest_calls() -> None:
    assert len(list(chunks("word " * 3200, SPECIAL, CHUNK_BYTES))) == 3
    assert len(list(chunks("x" * 2 * CHUNK_BYTES, SPECIAL, CHUNK_BYTES))) == 2
    assert len(list(chunks("né " * (CHUNK_BYTES // 2), SPECIAL, CHUNK_BYTES))) == 3


def test_chunks_begin_with_the_space_of_a_word() -> None:
    assert all(
        part.startswith(" word") for part in list(chunks("word " * 3000, SPECIAL, CHUNK_BYTES))[1:]
    )


@pytest.mark.parametrize("special", ["<|end|>", "<|start of turn|>"])
@pytest.mark.parametrize("text", ["字", "x", " ", "-", ""])
def test_no_special_token_is_split(text: str, special: str) -> None:
    for number in range(1, 40):
        whole = (special + text * number) * 20
        parts = list(chunks(whole, SPECIAL, 60))
        assert "".join(parts) == whole
        assert sum(part.count(special) for part in parts) == 20


def test_a_text_without_spaces_is_split_before_a_sign() -> None:
    text = "東京は、日本の首都です。" * 1000
    assert all(
        part.startswith(("、", "。")) for part in list(chunks(text, SPECIAL, CHUNK_BYTES))[1:]
    )
