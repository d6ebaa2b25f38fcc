"""Agreement of responses: small cases, and word error rates compared with jiwer."""

from __future__ import annotations

import random

import jiwer
import pytest

from fleet_bench.compare.results.agreement import (
    cosine,
    edits,
    equal_share,
    first_difference,
    word_error_rate,
    words,
)


@pytest.mark.parametrize(
    ("one", "other", "index", "share"),
    [
        ([1, 2, 3], [1, 2, 3], None, 1.0),
        ([1, 2, 3, 4], [1, 2, 9, 4], 2, 0.5),
        ([1, 2], [1, 2, 3, 4], 2, 0.5),
        ([5], [6], 0, 0.0),
        ([], [], None, 1.0),
        ([], [1], 0, 0.0),
    ],
)
def test_leading_tokens(one: list[int], other: list[int], index: int | None, share: float) -> None:
    assert (first_difference(one, other), equal_share(one, other)) == (index, share)
    assert (first_difference(other, one), equal_share(other, one)) == (index, share)


def test_cosine() -> None:
    assert cosine([3, 4], [6, 8]) == pytest.approx(1)
    assert cosine([1, 0], [0, 2]) == 0
    assert cosine([1, 2], [-1, -2]) == pytest.approx(-1)
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        cosine([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="length zero"):
        cosine([0, 0], [1, 2])


def test_words() -> None:
    assert words("It's 7 o\u2019clock, isn't it?") == ["its", "7", "oclock", "isnt", "it"]
    assert words("今日はいい Tag") == ["今", "日", "は", "い", "い", "tag"]
    assert words(" ... ") == []


def test_edits() -> None:
    assert edits("kitten", "sitting") == 3
    assert edits("", "abc") == edits("abc", "") == 3
    assert edits("abc", "abc") == 0


def test_word_error_rate_is_jiwers() -> None:
    choose = random.Random(7)
    vocabulary = ["one", "two", "three", "four", "five"]
    for _ in range(50):
        pairs = [
            (
                " ".join(choose.choices(vocabulary, k=choose.randint(1, 12))),
                " ".join(choose.choices(vocabulary, k=choose.randint(1, 12))),
            )
            for _ in range(choose.randint(1, 4))
        ]
        expected = jiwer.wer([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        assert word_error_rate(pairs) == pytest.approx(expected)


def test_word_error_rate_without_words() -> None:
    assert word_error_rate([("", "")]) == 0
    assert word_error_rate([("", "noise")]) == 1
    assert word_error_rate([("Hello, World!", "hello world")]) == 0
