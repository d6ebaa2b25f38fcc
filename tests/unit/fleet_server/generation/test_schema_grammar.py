"""Grammars of JSON Schemas, read back as regular expressions and held against real texts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.generation.schema_grammar import MAX_NODES, grammar

TOKEN = re.compile(
    r'"(?P<text>(?:[^"\\]|\\.)*)"|(?P<kept>\[(?:[^\]\\]|\\.)*\]|[()|*?+]|\{[\d,]+\})'
    r"|(?P<rule>\w+)|\s+"
)
NESTED = 3
"""How often a rule is followed within itself; deeper it matches nothing."""


def as_regex(rules: dict[str, str], name: str = "root", within: tuple[str, ...] = ()) -> str:
    if within.count(name) == NESTED:
        return "(?!)"
    found, body = "", rules[name]
    for token in TOKEN.finditer(body):
        if token["text"] is not None:
            literal = json.loads('"' + token["text"] + '"')  # escapes are those of JSON
            found += f"(?:{re.escape(literal)})"
        elif token["rule"]:
            found += as_regex(rules, token["rule"], (*within, name))
        else:
            found += token["kept"] or ""
    return f"(?:{found})"


def allows(schema: Any, text: str) -> bool:
    lines = [line for line in grammar(schema, "schema").splitlines() if line]
    rules = dict(line.split(" ::= ", 1) for line in lines)
    assert len(rules) == len(lines)
    return re.fullmatch(as_regex(rules), text) is not None


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": ["integer", "null"]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
OPTIONAL = {"type": "object", "properties": {name: {"type": "integer"} for name in "abc"}}
LIST = {
    "$defs": {"node": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"],
    }},
    "$ref": "#/$defs/node",
}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (PERSON, {"name": "Anna", "age": 31}),
        (PERSON, {"name": 'ü\\"\n', "age": None}),
        (OPTIONAL, {}),
        (OPTIONAL, {"b": 1}),
        (OPTIONAL, {"a": 1, "c": 2}),
        (OPTIONAL | {"required": ["b"]}, {"b": 1, "c": 0}),
        (OPTIONAL | {"required": ["d"]}, {"a": 1, "d": "anything"}),
        (LIST, {"next": {"next": None}}),
        ({"type": "array", "items": {"type": "boolean"}}, []),
        ({"type": "array", "items": {"type": "boolean"}}, [True, False, True]),
        ({"type": "array", "minItems": 2, "maxItems": 2}, [1, "two"]),
        ({"type": "array", "maxItems": 0}, []),
        ({"minItems": 1}, [1]),
        ({"properties": {"a": True}}, {"a": [1]}),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"x": -1.5e10, "y": 0}),
        ({"type": "object", "additionalProperties": False}, {}),
        ({"enum": ["red", 'a "b" \\', 3, None, {"a": [1]}]}, 'a "b" \\'),
        ({"enum": ["red", 3, None, {"a": [1]}]}, {"a": [1]}),
        ({"const": 5, "type": "integer"}, 5),
        ({"anyOf": [{"type": "integer"}, {"const": "x"}]}, "x"),
        ({"allOf": [{"type": "integer"}], "description": "a number"}, -7),
        ({"$defs": {"a/b": {"type": "null"}}, "$ref": "#/$defs/a~1b"}, None),
        ({}, {"any": ["thing", {}]}),
        (True, 1.25),
    ],
)
def test_allowed(schema: Any, value: Any) -> None:
    assert allows(schema, json.dumps(value, ensure_ascii=False))
    if schema is True or "enum" not in schema:
        assert allows(schema, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        assert allows(schema, json.dumps(value, ensure_ascii=False, indent=2))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (PERSON, {"name": "Anna"}),
        (PERSON, {"name": "", "age": 31}),
        (PERSON, {"name": "Johanna", "age": 31}),
        (PERSON, {"name": "Anna", "age": 3.5}),
        (PERSON, {"name": "Anna", "age": 31, "more": 1}),
        (PERSON, [PERSON]),
        (OPTIONAL, {"a": "1"}),
        (OPTIONAL | {"required": ["b"]}, {"a": 1}),
        (LIST, {"next": 5}),
        ({"type": "array", "items": {"type": "boolean"}}, [1]),
        ({"type": "array", "minItems": 2, "maxItems": 3}, [1]),
        ({"type": "array", "minItems": 2, "maxItems": 3}, [1, 2, 3, 4]),
        ({"type": "array", "maxItems": 0}, [1]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"x": "1"}),
        ({"enum": ["red", "green", 3], "type": "string"}, 3),
        ({"enum": ["red"]}, "re"),
        ({"const": True}, False),
        ({"anyOf": [{"type": "integer"}, {"const": "x"}]}, "y"),
        ({"type": "string"}, 5),
        ({"type": "null"}, "null"),
    ],
)
def test_not_allowed(schema: Any, value: Any) -> None:
    assert not allows(schema, json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":1,}', '{"a":01}', '"\x01"', '"\\x"', "[1 2]", "nul"]
)
def test_what_is_no_json_is_never_allowed(text: str) -> None:
    assert not allows({}, text)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (False, ""),
        ([], ""),
        ({"type": "text"}, ".type"),
        ({"type": []}, ".type"),
        ({"type": 5}, ".type"),
        ({"type": "object", "properties": []}, ".properties"),
        ({"type": "object", "properties": {"a": 1}}, ".properties.a"),
        ({"type": "object", "required": "a"}, ".required"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, ".required"),
        ({"type": "array", "items": 1}, ".items"),
        ({"type": "array", "minItems": -1}, ".minItems"),
        ({"type": "array", "minItems": True}, ".minItems"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, ".maxLength"),
        ({"enum": []}, ".enum"),
        ({"enum": "a"}, ".enum"),
        ({"enum": ["a"], "type": "integer"}, ".enum"),
        ({"anyOf": []}, ".anyOf"),
        ({"anyOf": [{"type": "string"}, {"type": "x"}]}, ".anyOf[1].type"),
        ({"$ref": "other.json"}, ".$ref"),
        ({"$ref": "#/$defs/none"}, ".$ref"),
        ({"$ref": 5}, ".$ref"),
        ({"$ref": "#"}, ""),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, ""),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}},
          "$ref": "#/$defs/a"}, ""),
        ({"type": "object", "properties": {f"p{n}": {} for n in range(MAX_NODES)}}, ""),
        ({"enum": ["x" * 60_000]}, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(schema: Any, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        grammar(schema, "here")
    assert raised.value.param == f"here{place}"


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "string", "pattern": "a+"}, ".pattern"),
        ({"type": "string", "format": "date"}, ".format"),
        ({"type": "integer", "minimum": 0}, ".minimum"),
        ({"oneOf": [True]}, ".oneOf"),
        ({"not": {}}, ".not"),
        ({"allOf": [True, True]}, ".allOf"),
        ({"$ref": "#", "type": "object"}, ".type"),
        ({"type": "array", "uniqueItems": True}, ".uniqueItems"),
        ({"type": "object", "patternProperties": {}}, ".patternProperties"),
        ({"type": "string", "properties": {}}, ".properties"),
        ({"type": "array", "maxItems": 10**9}, ".maxItems"),
        ({"anyOf": [{"type": "string", "maxLength": 300}] * 4}, ".anyOf[3].maxLength"),
    ],
)
def test_what_is_not_honoured_is_refused(schema: Any, place: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        grammar(schema, "here")
    assert raised.value.param == f"here{place}"


def test_deep_schemas_are_refused_and_not_followed() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadRequest, match="levels"):
        grammar(schema, "here")
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(500)}
    with pytest.raises(BadRequest, match="levels"):
        grammar({"$defs": chain, "$ref": "#/$defs/d0"}, "here")
