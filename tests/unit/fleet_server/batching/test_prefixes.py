"""Texts are tokenised about as far as a model reads them."""

from __future__ import annotations

import random

import pytest

from fleet_server.batching import prefixes
from fleet_server.batching.prefixes import CHARS_PER_TOKEN, MARGIN, tokenized


class Words:
    """A token for each word, after `used` of its own; records the characters of each call."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.calls: list[list[int]] = []

    def __call__(self, texts: list[str]) -> list[list[int]]:
        self.calls.append([len(text) for text in texts])
        return [[0] * self.used + [len(word) for word in text.split()] for text in texts]


def test_short_texts_are_whole() -> None:
    words = Words()
    found = list(tokenized(["a bb", "ccc"], 10, words))
    assert [(tokens.ids, tokens.whole) for tokens in found] == [([1, 2], True), ([3], True)]
    assert words.calls == [[4, 3]]


def test_a_long_text_is_read_a_little_further_than_the_model_does() -> None:
    words = Words()
    [tokens] = tokenized(["ab " * 100_000], 10, words)
    assert not tokens.whole
    assert len(tokens.ids) >= 10 + MARGIN
    assert words.calls == [[(10 + MARGIN) * CHARS_PER_TOKEN]] == [[208]]


def test_tokens_longer_than_the_guess_are_read_until_there_are_enough() -> None:
    words = Words()
    text = ("x" * 50 + " ") * 10_000
    [tokens] = tokenized([text], 10, words)
    assert len(tokens.ids) >= 10 + MARGIN
    assert words.calls == [[208], [832], [3328]]
    [tokens] = tokenized([" " * 9_999 + "end"], 10, words)
    assert (tokens.ids, tokens.whole) == ([3], True)


def test_the_tokens_of_the_query_leave_less_for_a_document() -> None:
    words = Words(used=6)
    [tokens] = tokenized(["ab " * 1000], 10, words, 6)
    assert words.calls[0] == [(4 + MARGIN) * CHARS_PER_TOKEN]
    assert len(tokens.ids) >= 10 + MARGIN
    words = Words(used=50)
    list(tokenized(["ab " * 1000], 10, words, 50))
    assert words.calls[0] == [MARGIN * CHARS_PER_TOKEN]


def test_calls_are_made_when_their_first_text_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "CHUNK_CHARS", 10)
    words = Words()
    texts = tokenized(["aaaa", "bbbb", "cccc", "d" * 30, "e"], 10, words)
    assert words.calls == []
    next(texts)
    assert words.calls == [[4, 4, 4]]
    assert [tokens.ids for tokens in texts] == [[4], [4], [30], [1]]
    assert words.calls == [[4, 4, 4], [30], [1]]


@pytest.mark.parametrize(("chars", "calls"), [(8, [[4, 4], [4]]), (9, [[4, 4, 4]]), (1, [[4]] * 3)])
def test_a_call_ends_once_it_has_its_characters(
    monkeypatch: pytest.MonkeyPatch, chars: int, calls: list[list[int]]
) -> None:
    monkeypatch.setattr(prefixes, "CHUNK_CHARS", chars)
    words = Words()
    list(tokenized(["aaaa", "bbbb", "cccc"], 10, words))
    assert words.calls == calls


def test_the_first_tokens_are_those_of_the_whole_text() -> None:
    chance = random.Random(4)
    for _ in range(200):
        text = " ".join("x" * chance.randrange(1, 40) for _ in range(chance.randrange(1, 400)))
        most = chance.randrange(1, 60)
        [tokens] = tokenized([text], most, Words())
        whole = [len(word) for word in text.split()]
        assert tokens.ids[:most] == whole[:most]
        assert tokens.whole == (tokens.ids == whole) or tokens.ids[-1] != whole[-1]
        assert tokens.whole or len(tokens.ids) > most


def test_no_texts() -> None:
    assert list(tokenized([], 10, Words())) == []
