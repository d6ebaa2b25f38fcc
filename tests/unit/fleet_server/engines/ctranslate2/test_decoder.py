"""The prompt of a client, as the decoder takes it."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_server.engines.ctranslate2.decoder import MAX_PROMPT, MAX_PROMPT_CHARS, Decoder


class Words:
    """A token for each word, its length; records how much is encoded."""

    eot = 1000

    def __init__(self) -> None:
        self.most = 0

    def encode(self, text: str) -> list[int]:
        self.most = max(self.most, len(text))
        return [len(word) for word in text.split()]


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Words:
    made = Words()
    monkeypatch.setattr(Decoder, "_tokenizer", lambda *_: (made, ()))
    return made


def tokens(text: str | None) -> Any:
    return Decoder.prompt_tokens(object.__new__(Decoder), text)


def test_the_end_of_a_prompt_is_read(words: Words) -> None:
    assert tokens(None) == tokens("  ") == ()
    assert tokens("a bb ") == (1, 2)
    text = " ".join("x" * (1 + number % 9) for number in range(50_000))
    assert tokens(text) == tuple(len(word) for word in text.split())[-MAX_PROMPT:]
    assert words.most <= MAX_PROMPT_CHARS + 1
