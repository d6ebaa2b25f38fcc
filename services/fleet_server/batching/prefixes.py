"""Tokenises texts about as far as a model reads them: work follows its length, not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Tokenize = Callable[[list[str]], list[list[int]]]

CHARS_PER_TOKEN = 8
"""First guess of a token's length; English has 4 to 5 with its space."""
MARGIN = 16
"""Tokens at the end of a part of a text that may differ from those of the whole text."""
CHUNK_CHARS = 262_144
"""Characters tokenised in one call, about 0.2 s: a request is refused at its first long text."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The ids of a text, or of its beginning if not `whole`: then more than the model reads."""

    ids: list[int]
    whole: bool


def tokenized(
    texts: Sequence[str], most: int, tokenize: Tokenize, used: int = 0
) -> Iterator[EncodedText]:
    """The tokens of each text, in order, for a model that reads `most` tokens.

    `tokenize` returns the ids of each text together with `used` tokens of its own. Texts are
    tokenised in calls of about `CHUNK_CHARS` characters, those of a call when the first of them is
    needed.
    """
    longest = (max(most - used, 0) + MARGIN) * CHARS_PER_TOKEN
    start = 0
    while start < len(texts):
        parts: list[str] = []
        chars = 0
        while start + len(parts) < len(texts) and (not parts or chars < CHUNK_CHARS):
            parts.append(texts[start + len(parts)][:longest])
            chars += len(parts[-1])
        for number, ids in enumerate(tokenize(parts), start):
            yield _enough(texts[number], ids, longest, most, tokenize)
        start += len(parts)


def _enough(text: str, ids: list[int], length: int, most: int, tokenize: Tokenize) -> EncodedText:
    """`ids` of the first `length` characters, or those of more of them if a token is longer than
    the guess, as in long words and runs of spaces."""
    while length < len(text) and len(ids) < most + MARGIN:
        length *= 4
        ids = tokenize([text[:length]])[0]
    return EncodedText(ids, length >= len(text))
