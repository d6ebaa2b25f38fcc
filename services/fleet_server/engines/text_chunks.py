"""Divides a long text into chunks that are tokenised one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from fleet_server.engines.special_text import SpecialText

SEAMS = (
    re.compile(r".*[^\s>\]](?= [A-Za-z])", re.DOTALL),
    re.compile(r".*[^\W_](?=[^\w\s])", re.DOTALL),
)
"""Up to where no token spans: word tokens begin with their space in every known vocabulary, but not
after a special token, which ends with a bracket: white space there may be stripped. Else up to a
sign after a word, where byte-level vocabularies divide a text."""


def chunks(
    text: str, special: SpecialText, num_bytes: int, *, puts_space: bool = False
) -> Iterator[str]:
    """The text in chunks of at most `num_bytes` of UTF-8, split between words if possible and never
    in a special token. Later chunks lack their first space if the tokenizer `puts_space`."""
    start = 0
    while start < len(text):
        end = _end(text, start, special, num_bytes)
        has_space = puts_space and start > 0 and text[start] == " "
        yield text[start + has_space : end]
        start = end


def puts_space(encode: Callable[[str], Sequence[int]]) -> bool:
    """Whether a tokenizer puts a space before each text, as SentencePiece does."""
    return [*encode("a b")] == [*encode("a"), *encode("b")]


def _end(text: str, start: int, special: SpecialText, num_bytes: int) -> int:
    """Where the chunk that begins at `start` ends."""
    window = text[start : start + num_bytes]
    if not window.isascii():
        raw = window.encode(errors="replace")[:num_bytes]
        window = window[: len(raw.decode(errors="ignore"))]
    most = start + len(window)
    if most == len(text):
        return most
    seams = [found.end() for seam in SEAMS if (found := seam.match(window))]
    for seam in (*seams, len(window)):
        end = special.before(text, start + seam)
        if end > start:
            return end
    return most
