"""Keeps special tokens that users write, such as `<|im_end|>`, from becoming control tokens.

A seam is put into each of them before the chat template is applied. The rendered prompt is cut at
the seams and its parts are tokenised one by one, so that no part holds a whole special token of a
user. The template's own special tokens have no seams.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import commonprefix
from typing import Any

from fleet_server.protocols import Message, TemplateArguments

SEAM = "\ufdd0"
"""A noncharacter (Unicode 23.7), which no text for interchange contains."""
REPLACEMENT = "\ufffd"


class SpecialText:
    """`tokens` are the texts of a vocabulary's special tokens. Thread-safe."""

    def __init__(self, tokens: Iterable[str]) -> None:
        words = sorted({word for word in tokens if len(word) > 1})
        self._longest = max(map(len, words), default=0)
        # A lookahead, since special tokens may overlap.
        self._begin = re.compile(f"(?={_any_of(words)})(.)", re.DOTALL) if words else None

    def seamed(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with a seam in each special token, also in one that is spread over the text
        parts of a message."""
        return [self._divided(self.seamed_value(message)) for message in messages]

    def seamed_arguments(self, arguments: TemplateArguments) -> TemplateArguments:
        """The arguments with a seam in each special token."""
        return replace(
            arguments,
            tools=[self.seamed_value(tool) for tool in arguments.tools],
            variables=self.seamed_value(dict(arguments.variables)),
        )

    def seamed_value(self, value: Any) -> Any:
        """A JSON value with a seam in each special token, those in keys included."""
        if isinstance(value, str):
            return self._seam(value)
        if isinstance(value, Mapping):
            return {self._seam(key): self.seamed_value(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.seamed_value(each) for each in value]
        return value

    def parts(self, text: str) -> list[str]:
        """The text, cut within each special token."""
        return self._seam(text).split(SEAM)

    def before(self, text: str, end: int) -> int:
        """`end`, or where the last special token begins that may reach beyond it."""
        if self._begin is None:
            return end
        near = self._begin.finditer(text, max(end - self._longest, 0), end + self._longest)
        return max((found.start() for found in near if found.start() < end), default=end)

    def _divided(self, message: Message) -> Message:
        """A seamed message, with seams between its text parts if these form a special token when a
        template joins them, stripped or as they are."""
        content = message["content"]
        if isinstance(content, str) or self._begin is None:
            return message
        texts = [part["text"] for part in content if part["type"] == "text"]
        stripped = (text.strip() for text in texts)
        if not any(self._begin.search("".join(joined)) for joined in (texts, stripped)):
            return message
        parts = [
            {**part, "text": part["text"] + SEAM} if part["type"] == "text" else part
            for part in content
        ]
        return {**message, "content": parts}

    def _seam(self, text: str) -> str:
        text = text.replace(SEAM, REPLACEMENT)
        return text if self._begin is None else self._begin.sub(rf"\1{SEAM}", text)


def _any_of(words: Sequence[str]) -> str:
    """A pattern that matches where one of the sorted words begins.

    A tree of their beginnings: with a plain alternation of Gemma's 6,000 special tokens, a text of
    260,000 `<` took 8 s, and the interpreter lock for as long.
    """
    if not words[0]:
        return ""
    branches = []
    for _, group in itertools.groupby(words, lambda word: word[0]):
        found = list(group)
        begin = commonprefix(found)  # noqa: RUF071  (these are no paths)
        branches.append(re.escape(begin) + _any_of([word[len(begin) :] for word in found]))
    return f"(?:{'|'.join(branches)})"


def texts_in(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys of objects included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts_in(each)
