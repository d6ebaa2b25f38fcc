"""A call that a grammar enforces: its schema, and the parser that streams its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fleet_server.engines.guided.schema_walk import LITERAL
from fleet_server.generation.pieces import CallArguments, CallStart, Piece, Text
from fleet_server.generation.tool_parsers.call import NewId

HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*(?=\{)')


def schema_of(tools: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The JSON Schema of one call of one of the tools, given by name and schema of arguments."""
    if len(tools) == 1:
        [(name, parameters)] = tools
        return _one(name, parameters, "#")
    return {
        "anyOf": [
            _one(name, parameters, f"#/anyOf/{number}")
            for number, (name, parameters) in enumerate(tools)
        ]
    }


def _one(name: str, parameters: Mapping[str, Any], place: str) -> dict[str, Any]:
    arguments = _moved(parameters, f"{place}/properties/arguments")
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"type": "object", **arguments}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """The schema with its references to itself as it is at `place` of another one."""
    if isinstance(schema, list):
        return [_moved(each, place) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            moved[key] = place + value[1:]
        else:
            moved[key] = value if key in LITERAL else _moved(value, place)
    return moved


class ForcedCall:
    """A CallParser (fleet_server.generation.output) of one call that follows `schema_of`.

    The grammar holds, so the arguments are passed on as they arrive. A text that ends before its
    arguments begin is text.
    """

    def __init__(self, new_id: NewId) -> None:
        self.called = False
        self.done = False
        self._new_id = new_id
        self._held = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain with this text."""
        if self.done:
            return []
        if self.called:
            return self._arguments(text)
        self._held += text
        head = HEAD.match(self._held)
        if head is None:
            return []
        self.called = True
        return [CallStart(0, self._new_id(), head[1]), *self._arguments(self._held[head.end() :])]

    def flush(self) -> list[Piece]:
        """The text held back, at the end."""
        return [Text(self._held)] if self._held and not self.called else []

    def _arguments(self, text: str) -> list[Piece]:
        end = self._end(text)
        self.done = end is not None
        text = text[:end]
        return [CallArguments(0, text)] if text else []

    def _end(self, text: str) -> int | None:
        """The end of the arguments in `text`."""
        for number, letter in enumerate(text, start=1):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = letter == "\\"
                self._in_string = letter != '"'
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return number
        return None
