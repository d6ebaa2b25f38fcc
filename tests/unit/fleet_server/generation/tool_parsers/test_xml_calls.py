"""Values of calls as XML, by the schema of the tool."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_server.generation.tool_parsers.xml_calls import read_either

TEXT = {"type": "string"}
NULL = {"type": "null"}


def value(schema: Any, text: str) -> Any:
    tool = {"properties": {"a": schema}, "$defs": {"Zip": TEXT, "Loop": {"$ref": "#/$defs/Loop"}}}
    block = f"<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>"
    calls = read_either(block, {"f": tool})
    assert calls
    return json.loads(calls[0].arguments)["a"]


@pytest.mark.parametrize(
    "schema",
    [
        TEXT, {"type": ["string", "null"]}, {"anyOf": [TEXT, NULL]}, {"oneOf": [NULL, TEXT]},
        {"enum": ["12345", "true"]}, {"const": "12345"}, {"$ref": "#/$defs/Zip"},
        {"anyOf": [{"$ref": "#/$defs/Zip"}, NULL]},
    ],
)  # fmt: skip
def test_values_of_strings_stay_texts(schema: Any) -> None:
    assert value(schema, "12345") == "12345"
    assert value(schema, "true") == "true"
    assert value(schema, '"12345"') == ('"12345"' if schema is TEXT else "12345")


@pytest.mark.parametrize(
    "schema", [{}, True, NULL, {"type": "integer"}, {"enum": [12345]}, {"$ref": "#/$defs/Loop"},
               {"$ref": "#/$defs/Missing"}, {"$ref": "https://example.org/zip"}],
)  # fmt: skip
def test_other_values_are_json(schema: Any) -> None:
    assert value(schema, "12345") == 12345


def test_values_of_unions_have_the_type_that_they_were_written_in() -> None:
    number = {"anyOf": [{"type": "integer"}, {"enum": ["auto"]}]}
    assert [value(number, text) for text in ("30", "auto", '"auto"')] == [30, "auto", "auto"]
    paths = {"type": ["string", "array"]}
    assert [value(paths, text) for text in ('["a"]', "a", "3")] == [["a"], "a", "3"]
    assert value({"type": ["string", "number"]}, "3") == 3


def test_null_is_a_text_only_where_nothing_else_is_allowed() -> None:
    assert value(TEXT, "null") == "null"
    assert value({"type": ["string", "null"]}, "null") is None
    assert value({}, "null") is None
