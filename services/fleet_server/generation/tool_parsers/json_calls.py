"""Calls written as JSON: `{"name": ..., "arguments": {...}}`, one or several."""

from __future__ import annotations

import re
from typing import Any

from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse_from

BETWEEN = " \t\r\n;,"
FENCE = re.compile(r"```(?:json|tool_call)?[ \t]*\n(.*?)(?:\n?```\s*)?", re.DOTALL)
"""A code block of Markdown."""
LISTED = "tool_calls"
FUNCTOOLS = "functools"


def read_json(block: str, schemas: Schemas) -> list[Call] | None:
    """Calls as objects or lists of objects, one after the other."""
    calls: list[Call] = []
    place = _skip(block, 0)
    while place < len(block):
        found = parse_from(block, place)
        if found is None:
            return None
        value, end = found
        more = _calls(value, schemas)
        if more is None:
            return None
        calls += more
        place = _skip(block, end)
    return calls or None


def read_fenced(block: str, schemas: Schemas) -> list[Call] | None:
    """`read_json`, also of a code block."""
    fenced = FENCE.fullmatch(block.strip())
    return read_json(fenced[1] if fenced else block, schemas)


def read_functools(block: str, schemas: Schemas) -> list[Call] | None:
    """`read_json` after the word `functools`, which Phi-4-mini may write in front of a list."""
    return read_json(block.removeprefix(FUNCTOOLS), schemas)


def outside_text(block: str) -> bool:
    """Whether JSON may end here: not within a string."""
    inside = escaped = False
    for letter in block:
        if escaped:
            escaped = False
        elif inside and letter == "\\":
            escaped = True
        elif letter == '"':
            inside = not inside
    return not inside


def _calls(value: Any, schemas: Schemas) -> list[Call] | None:
    if isinstance(value, dict) and isinstance(value.get(LISTED), list):
        value = value[LISTED]
    calls = [_call(each, schemas) for each in (value if isinstance(value, list) else [value])]
    known = [each for each in calls if each is not None]
    return known if len(known) == len(calls) else None


def _call(value: Any, schemas: Schemas) -> Call | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    if isinstance(inner, dict):
        value = inner
    arguments = value.get("arguments", value.get("parameters"))
    return call(value.get("name"), arguments, schemas)


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in BETWEEN:
        place += 1
    return place
