"""Keeps special tokens that users write, such as `<|im_end|>`, from becoming control tokens.

A seam is put into each of them before the chat template is applied. The rendered prompt is cut at
the seams and its parts are tokenised one by one, so that no part holds a whole special token of a
user. The template's own special tokens have no seams.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fleet_server.protocols import Message

SEAM = "\ufdd0"
"""A noncharacter (Unicode 23.7), which no text for interchange contains."""
REPLACEMENT = "\ufffd"


class SpecialText:
    """`tokens` are the texts of a vocabulary's special tokens. Thread-safe."""

    def __init__(self, tokens: Iterable[str]) -> None:
        words = sorted({word for word in tokens if len(word) > 1}, key=lambda word: -len(word))
        # A lookahead, since special tokens may overlap.
        pattern = "|".join(map(re.escape, words))
        self._begin = re.compile(f"(?=(?:{pattern}))(.)", re.DOTALL) if words else None

    def seamed(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with a seam in each special token."""
        return [{**message, "content": self._content(message["content"])} for message in messages]

    def parts(self, text: str) -> list[str]:
        """The text, cut within each special token."""
        return self._seam(text).split(SEAM)

    def _content(self, content: str | list[dict[str, str]]) -> str | list[dict[str, str]]:
        if isinstance(content, str):
            return self._seam(content)
        return [
            {**part, "text": self._seam(part["text"])} if part["type"] == "text" else part
            for part in content
        ]

    def _seam(self, text: str) -> str:
        text = text.replace(SEAM, REPLACEMENT)
        return text if self._begin is None else self._begin.sub(rf"\1{SEAM}", text)
