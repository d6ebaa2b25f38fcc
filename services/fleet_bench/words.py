"""Distinct texts, the same in every run."""

from __future__ import annotations

import random

_WORDS = (
    "the a of and river garden engine morning window teacher quiet number winter market paper "
    "bridge yellow music mountain letter clock forest silver friend village ocean kitchen story "
    "summer island train corner basket candle harbour meadow pocket shadow copper thunder blanket"
)
VOCABULARY = _WORDS.split()


def text(number: int, length: int) -> str:
    """`length` words, the first of which is `number`, so that no two texts share a prefix."""
    choose = random.Random(number)  # noqa: S311  (no secret)
    words = [str(number), *(choose.choice(VOCABULARY) for _ in range(length - 1))]
    return " ".join(words[: max(1, length)])
