from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fleet_server.engines.openvino.text_encoder import LIMIT, WHOLE_CHARS, TextEncoder
from fleet_server.engines.special_text import SpecialText

SPECIAL = SpecialText(["<|end|>", "<|start of turn|>"])


class ByteTokenizer:
    """One token a byte, the last `limit` of them. `longest` is that of the texts, in characters.

    With `prefix` it puts a space before each text, as SentencePiece does.
    """

    def __init__(self, limit: int | None = LIMIT, prefix: bool = False) -> None:
        self._kept = slice(limit and -limit, None)
        self._prefix = " " * prefix
        self.longest = 0

    def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        self.longest = max(self.longest, len(text))
        ids = [0] * add_special_tokens + list((self._prefix + text).encode())
        return SimpleNamespace(input_ids=SimpleNamespace(data=np.array([ids[self._kept]])))


def words(number: int) -> str:
    return "".join(f" w{index % 1000:03}" for index in range(number))


@pytest.mark.parametrize("number", [1, 300, 1636, 1637, 1638, 1639, 5000, 9000])
@pytest.mark.parametrize("end", ["<|end|>", "字" * 9000, "x" * 40_000, "\n" * 9000])
def test_no_token_is_lost_however_long_the_text(number: int, end: str) -> None:
    text = words(number) + end
    ids = TextEncoder(ByteTokenizer(), SPECIAL)(text)
    assert bytes(ids.tolist()).decode() == text


def test_special_tokens_are_added_once() -> None:
    text = words(3000)
    ids = TextEncoder(ByteTokenizer(), SPECIAL)(text, add_special=True)
    assert ids[0] == 0
    assert np.count_nonzero(ids == 0) == 1
    assert len(ids) == 1 + len(text)


@pytest.mark.parametrize("text", ["a word " * 1000, "a word " * 6000, "[INST] a word</s> " * 3000])
def test_the_space_that_sentencepiece_puts_before_a_text_stays_the_only_one(text: str) -> None:
    ids = TextEncoder(ByteTokenizer(None, prefix=True), SPECIAL)(text)
    assert bytes(ids.tolist()).decode() == " " + text


def test_an_empty_text_has_no_tokens() -> None:
    assert TextEncoder(ByteTokenizer(), SPECIAL)("").shape == (0,)


@pytest.mark.parametrize("text", ["x" * 10**6, " " * 10**6, "word " * 10**5, "é" * 10**5])
def test_no_call_holds_the_interpreter_lock_for_a_long_text(text: str) -> None:
    tokenizer = ByteTokenizer()
    TextEncoder(tokenizer, SPECIAL)(text)
    assert tokenizer.longest <= WHOLE_CHARS
