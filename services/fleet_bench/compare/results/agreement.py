"""Metrics of agreement: equal leading tokens, cosine, word error rate."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence

Vector = Sequence[float]

# Scripts written without spaces are compared by character: kana, Han, Hangul, Thai.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f]|\w+")
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")


def first_difference(one: Sequence[Hashable], other: Sequence[Hashable]) -> int | None:
    """The first index at which two sequences differ; None where they are equal.

    If one is a prefix of the other, that is its length.
    """
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


def equal_share(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """The share of the longer sequence before the first difference, 0 to 1; 1 if both are empty."""
    if (index := first_difference(one, other)) is None:
        return 1.0
    return index / max(len(one), len(other))


def cosine(one: Vector, other: Vector) -> float:
    """Cosine of two vectors. Raises ValueError for different dimensions and zero vectors."""
    if len(one) != len(other):
        raise ValueError(f"vectors of {len(one)} and {len(other)} dimensions")
    lengths = math.sqrt(math.fsum(x * x for x in one) * math.fsum(x * x for x in other))
    if lengths == 0:
        raise ValueError("a vector of length zero")
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / lengths


def words(text: str) -> list[str]:
    """Words in lower case without punctuation; characters of scripts without spaces."""
    return _WORDS.findall(_APOSTROPHES.sub("", text.lower()))


def edits(reference: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Levenshtein distance of two sequences."""
    row = list(range(len(other) + 1))
    for at, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], at
        for place, found in enumerate(other, start=1):
            change = diagonal + (expected != found)
            diagonal = row[place]
            row[place] = min(change, diagonal + 1, row[place - 1] + 1)
    return row[-1]


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word error rate of (reference, hypothesis) pairs: all edits over all reference words.

    Without reference words it is 0 if the hypotheses are empty too, else 1.
    """
    split = [(words(reference), words(other)) for reference, other in pairs]
    wrong = sum(edits(reference, other) for reference, other in split)
    total = sum(len(reference) for reference, _ in split)
    return wrong / total if total else float(wrong > 0)
