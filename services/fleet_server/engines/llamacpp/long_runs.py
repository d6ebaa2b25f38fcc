"""Long runs of letters, signs or white space in a text.

llama.cpp divides texts into words with `std::regex` for the vocabularies of gpt-oss, Mistral
(tekken), DeepSeek and others, and its matcher calls itself for each character of a word: 25,000
letters overflow a stack of 8 MiB, which ends the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 8192
"""Characters of a run, which take 3 MiB of the stack."""
RUNS = (
    re.compile(rf"(?<![^ \t\r\n])[^ \t\r\n]{{{MOST + 1},}}"),
    re.compile(rf"(?<!\s)\s{{{MOST + 1},}}"),
)
"""What has no place where every such vocabulary divides a text. Lookbehinds, so that each character
is read once."""
BEFORE_SIGN = re.compile(r"(?<=\w)[^\w\s]")
NEAR = 256
"""Characters of the longest special token."""
NOTHING = re.compile(r"(?!)")


def divided(text: str, whole: re.Pattern[str] = NOTHING) -> list[str]:
    """The text in parts without a run of more than MOST characters, what matches `whole`
    undivided.

    Their tokens are those of the text where it is divided between a word and a sign.
    """
    parts = [text]
    for run in RUNS:
        parts = [piece for part in parts for piece in _pieces(part, run, whole)]
    return parts


def spaced(text: str, whole: re.Pattern[str] = NOTHING) -> str:
    """The text with spaces in such runs, and long white space cut: for routes that take texts."""
    words, white = RUNS
    text = " ".join(_pieces(text, words, whole))
    return white.sub(lambda found: found[0][:MOST], text)


def _pieces(text: str, run: re.Pattern[str], whole: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for found in run.finditer(text):
        begin = found.start()
        while found.end() - begin > MOST:
            end = _end(text, begin, whole)
            yield text[start:end]
            start = begin = end
    yield text[start:]


def _end(text: str, begin: int, whole: re.Pattern[str]) -> int:
    """Where the first part of a run ends."""
    end = begin + MOST
    for sign in BEFORE_SIGN.finditer(text, begin + MOST // 2, end):
        end = sign.start()
    for kept in whole.finditer(text, end - NEAR, end + NEAR):
        if kept.start() < end < kept.end():
            return kept.start()
    return end
