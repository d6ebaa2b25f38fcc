"""The schemas whose properties can be written one by one."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_server.generation.tool_grammars.properties import (
    Property,
    properties_of,
    refers_outside,
    with_definitions,
)

TEXT = {"type": "string"}
CLOSED: dict[str, Any] = {"type": "object", "additionalProperties": False}


def test_properties_keep_their_order() -> None:
    schema = {**CLOSED, "properties": {"b": TEXT, "a": TEXT}, "required": ["a"], "title": "T"}
    assert properties_of(schema) == [Property("b", TEXT, False), Property("a", TEXT, True)]
    assert properties_of(CLOSED) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"}, {**CLOSED, "additionalProperties": TEXT}, {**CLOSED, "type": "array"},
        {**CLOSED, "anyOf": []}, {**CLOSED, "minProperties": 1}, {**CLOSED, "properties": []},
        {**CLOSED, "properties": {"a": True}}, {**CLOSED, "required": ["a"]},
        {**CLOSED, "required": 5}, {**CLOSED, "required": [5]},
    ],
)  # fmt: skip
def test_other_schemas_have_none(schema: dict[str, Any]) -> None:
    assert properties_of(schema) is None


def test_references() -> None:
    root = {"$defs": {"a": TEXT}, "properties": {}}
    inner = {"items": {"$ref": "#/$defs/a"}}
    assert with_definitions(inner, root) == {**inner, "$defs": root["$defs"]}
    assert with_definitions(TEXT, root) == TEXT
    assert not refers_outside({**root, "items": [inner]})
    for reference in ("#", "#/properties/a", "https://a.test/b"):
        assert refers_outside({"anyOf": [{"$ref": reference}]})
