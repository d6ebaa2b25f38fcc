"""Gemma's calls, `call:name{key:value}`, with marks of their own around strings.

Format: ai.google.dev/gemma/docs, "Gemma 4 Prompt Formatting" and "FunctionGemma".
"""

from __future__ import annotations

import re
from typing import Any

from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse_from
from fleet_server.generation.tool_parsers.syntax import Read

MAX_DEPTH = 32
HEAD = re.compile(r"\s*call:\s*([\w.-]+)\s*(?=\{)")
KEY = re.compile(r"\s*([^\s:,{}\[\]]+)\s*:\s*")
SPACE = re.compile(r"\s*")


def reader(quote: str) -> Read:
    """Reads calls whose strings are between two `quote`s."""

    def read(block: str, schemas: Schemas) -> list[Call] | None:
        head = HEAD.match(block)
        if head is None:
            return None
        try:
            value, end = _Values(block, quote).read(head.end(), 0)
        except _Unreadable:
            return None
        known = call(head[1], value, schemas)
        return [known] if known is not None and not block[end:].strip() else None

    return read


def outside(quote: str) -> Any:
    """Whether a block may end: not within a string."""
    return lambda block: block.count(quote) % 2 == 0


class _Unreadable(Exception):
    """The text is not of this form."""


class _Values:
    def __init__(self, text: str, quote: str) -> None:
        self._text = text
        self._quote = quote

    def read(self, place: int, depth: int) -> tuple[Any, int]:
        """The value at `place` and its end."""
        if depth > MAX_DEPTH:
            raise _Unreadable
        if self._text.startswith(self._quote, place):
            return self._string(place)
        if self._text.startswith("{", place):
            return self._object(place, depth)
        if self._text.startswith("[", place):
            return self._list(place, depth)
        return self._json(place)

    def _json(self, place: int) -> tuple[Any, int]:
        found = parse_from(self._text, place)
        if found is None:
            raise _Unreadable
        return found

    def _string(self, place: int) -> tuple[str, int]:
        start = place + len(self._quote)
        end = self._text.find(self._quote, start)
        if end < 0:
            raise _Unreadable
        return self._text[start:end], end + len(self._quote)

    def _object(self, place: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        place = self._space(place + 1)
        while not self._text.startswith("}", place):
            if self._text.startswith(self._quote, place):
                key, place = self._string(place)
                place = self._after(self._space(place), ":")
            elif self._text.startswith('"', place):
                key, place = self._json(place)
                place = self._after(self._space(place), ":")
            else:
                match = KEY.match(self._text, place)
                if match is None:
                    raise _Unreadable
                key, place = match[1], match.end()
            found[key], place = self.read(self._space(place), depth + 1)
            place = self._separator(place, "}")
        return found, place + 1

    def _list(self, place: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        place = self._space(place + 1)
        while not self._text.startswith("]", place):
            value, place = self.read(place, depth + 1)
            found.append(value)
            place = self._separator(place, "]")
        return found, place + 1

    def _separator(self, place: int, close: str) -> int:
        place = self._space(place)
        return place if self._text.startswith(close, place) else self._after(place, ",")

    def _after(self, place: int, letter: str) -> int:
        if not self._text.startswith(letter, place):
            raise _Unreadable
        return self._space(place + 1)

    def _space(self, place: int) -> int:
        match = SPACE.match(self._text, place)
        return match.end() if match else place
