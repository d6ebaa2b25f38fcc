"""The properties of an object that a JSON Schema describes completely."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "$schema", "$comment", "$id", "deprecated",
    "readOnly", "writeOnly",
})  # fmt: skip
DEFINITIONS = ("$defs", "definitions")
OBJECT = frozenset({"type", "properties", "required", "additionalProperties"})
REFERENCES = tuple(f"#/{name}/" for name in DEFINITIONS)


@dataclass(frozen=True, slots=True)
class Property:
    """`schema` is that of its value, `required` whether it is always written."""

    name: str
    schema: Schema
    required: bool


def properties_of(schema: Schema) -> list[Property] | None:
    """The properties in the declared order; None if the schema allows others, or has keywords
    besides those of its properties."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if (
        schema.get("type") != "object"
        or keywords(schema) - OBJECT
        or schema.get("additionalProperties") is not False
        or not isinstance(properties, dict)
        or not all(isinstance(each, dict) for each in properties.values())
        or not isinstance(required, list)
        or not all(isinstance(each, str) and each in properties for each in required)
    ):
        return None
    return [Property(name, each, name in required) for name, each in properties.items()]


def keywords(schema: Schema) -> frozenset[str]:
    """The keywords that are neither annotations nor definitions."""
    return frozenset(schema) - ANNOTATIONS - frozenset(DEFINITIONS)


def with_definitions(schema: Schema, root: Schema) -> Schema:
    """A schema within `root`, with the definitions of that if it refers to any."""
    if '"$ref"' not in json.dumps(schema):
        return schema
    return {**schema, **{name: root[name] for name in DEFINITIONS if name in root}}


def refers_outside(schema: Any) -> bool:
    """Whether a schema refers to anything else than its definitions."""
    waiting: list[Any] = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            reference = found.get("$ref")
            if isinstance(reference, str) and not reference.startswith(REFERENCES):
                return True
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
    return False
