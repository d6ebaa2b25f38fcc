"""The bounds of a schema, and how it is narrowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_server.generation.formats.schema import MAX_CHARS, MAX_DEPTH, MAX_NODES, narrowed

A = {"a": {"type": "integer"}}
CLOSED = {"properties": A, "additionalProperties": False}


def rewritten(schema: Any) -> Any:
    return json.loads(narrowed(schema, "schema"))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"properties": A}, CLOSED),
        ({"properties": A, "required": ["a"]}, CLOSED | {"required": ["a"]}),
        ({"properties": A, "additionalProperties": True}, None),
        ({"properties": A, "required": ["b"]}, None),
        ({"properties": A, "required": 5}, None),
        ({"type": "object"}, None),
        ({"items": {"properties": A}}, {"items": CLOSED}),
        ({"anyOf": [{"properties": A}, True]}, {"anyOf": [CLOSED, True]}),
        ({"$defs": {"x": {"properties": A}}}, {"$defs": {"x": CLOSED}}),
        ({"properties": {"properties": {"properties": A}}},
         {"properties": {"properties": CLOSED}, "additionalProperties": False}),
        ({"const": {"properties": A}}, None),
        ({"enum": [{"properties": A}]}, None),
        ({"allOf": [{"properties": A}, {"properties": {"b": {}}}]}, None),
        ({"x-guidance": {"lenient": True}, "not": {}}, {"not": {}}),
        ({"allOf": [{"x-guidance": {}}]}, {"allOf": [{}]}),
        ({"properties": {"x-guidance": {}}, "additionalProperties": True}, None),
        (True, None),
    ],
)  # fmt: skip
def test_objects_have_only_what_they_declare(given: Any, written: Any) -> None:
    assert rewritten(given) == (given if written is None else written)


def deep(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def test_the_bounds_are_exact() -> None:
    wide = [{} for _ in range(MAX_NODES - 2)]
    narrowed({"anyOf": wide}, "schema")
    narrowed(deep(MAX_DEPTH), "schema")
    narrowed({"title": "x" * (MAX_CHARS - len('{"title": ""}'))}, "schema")
    parts = "more than 2000 parts or 64 levels"
    for schema, message in (
        ({"anyOf": [*wide, {}]}, parts),
        (deep(MAX_DEPTH + 1), parts),
        ({"title": "x" * MAX_CHARS}, "has 200013 characters; at most 200000"),
    ):
        with pytest.raises(BadRequest, match=message) as caught:
            narrowed(schema, "response_format.json_schema.schema")
        assert caught.value.param == "response_format.json_schema.schema"
