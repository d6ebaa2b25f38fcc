"""The JSON types that a schema allows, for formats in which texts have no quotes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleet_server.engines.guided.json_pointer import resolve

MOST_SCHEMAS = 100
"""Schemas that are read, since references may lead in circles."""
TYPES: Mapping[type, str] = {
    str: "string", bool: "boolean", int: "integer", float: "number", dict: "object",
    list: "array", type(None): "null",
}  # fmt: skip
"""The type in JSON Schema of Python's values."""


def kinds(schema: Any, whole: Mapping[str, Any]) -> frozenset[str]:
    """The types that `schema` names, also by `enum`, `const`, `anyOf`, `oneOf`, `allOf` and `$ref`
    (a path within `whole`); an empty set if it names none, and so allows all."""
    found: set[str] = set()
    waiting, left = [schema], MOST_SCHEMAS
    while waiting and left:
        left -= 1
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        named = list(_named(one))
        if named:
            found.update(named)
            continue
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(one.get(key), list):
                waiting += one[key][:MOST_SCHEMAS]
        if isinstance(one.get("$ref"), str):
            waiting.append(resolve(one["$ref"], whole))
    return frozenset(found)


def allows(named: frozenset[str], value: Any) -> bool:
    """Whether the type of a JSON value is one of `named`."""
    return TYPES[type(value)] in named or (type(value) is int and "number" in named)


def _named(schema: Mapping[str, Any]) -> Iterator[str]:
    given = schema.get("type")
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, str):
            yield each
    if given is not None:
        return
    values = schema.get("enum")
    if "const" in schema:
        values = [schema["const"]]
    if isinstance(values, Sequence) and not isinstance(values, str):
        yield from (TYPES[type(value)] for value in values if type(value) in TYPES)
