"""Keeps special tokens that users write, such as `<|im_end|>`, from becoming control tokens.

A seam is put into each of them before the chat template is applied. The rendered prompt is cut at
the seams and its parts are tokenised one by one, so that no part holds a whole special token of a
user. The template's own special tokens have no seams.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fleet_server.protocols import Message, TemplateArguments

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
        return [self.seamed_value(message) for message in messages]

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

    def _seam(self, text: str) -> str:
        text = text.replace(SEAM, REPLACEMENT)
        return text if self._begin is None else self._begin.sub(rf"\1{SEAM}", text)


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
