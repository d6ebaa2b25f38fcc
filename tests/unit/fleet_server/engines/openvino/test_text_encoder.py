from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fleet_server.engines.openvino.text_encoder import CHUNK_CHARS, TextEncoder, chunks

CUT = 8192


class CuttingTokenizer:
    """One token a character, cut as OpenVINO's graph of a GGUF cuts."""

    def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        ids = [0] * add_special_tokens + [ord(character) for character in text]
        return SimpleNamespace(input_ids=SimpleNamespace(data=np.array([ids[-CUT:]])))


@pytest.mark.parametrize("words", [1, 300, 1638, 1639, 5000])
def test_no_token_is_lost_however_long_the_text(words: int) -> None:
    text = "".join(f" w{number % 1000:03}" for number in range(words)) + "<|end|>"
    ids = TextEncoder(CuttingTokenizer())(text)
    assert "".join(map(chr, ids)) == text


def test_special_tokens_are_added_once() -> None:
    text = "".join(f" w{number:04}" for number in range(3000))
    ids = TextEncoder(CuttingTokenizer())(text, add_special=True)
    assert ids[0] == 0
    assert np.count_nonzero(ids == 0) == 1
    assert len(ids) == 1 + len(text)


def test_an_empty_text_has_no_tokens() -> None:
    assert TextEncoder(CuttingTokenizer())("").shape == (0,)


@pytest.mark.parametrize("text", ["word " * 3000, "字" * 9000, " a" * 5000, "\n" * 5000])
def test_pieces_are_the_text(text: str) -> None:
    parts = list(chunks(text))
    assert "".join(parts) == text
    assert all(0 < len(part) <= CHUNK_CHARS for part in parts)


def test_pieces_begin_with_the_space_of_a_word() -> None:
    assert all(part.startswith(" word") for part in list(chunks("word " * 3000))[1:])
