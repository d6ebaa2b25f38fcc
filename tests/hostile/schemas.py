"""Schemas of structured output that are costly to compile or to apply."""

from __future__ import annotations

from functools import partial
from typing import Any

from hostile.attack import TAKEN, Attack, expect
from hostile.caller import Caller
from hostile.target import CHAT, Target

TOKENS = 12


def constrained(target: Target, _: Caller, *, schema: Any) -> None:
    """One chat with the schema: served or refused."""
    body = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Fill in the form."}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "form", "schema": schema, "strict": True},
        },
    }
    expect([target.post("/v1/chat/completions", body)], TAKEN)


def text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def object_of(**properties: Any) -> dict[str, Any]:
    """A schema of an object with these and no other properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(depth: int) -> dict[str, Any]:
    schema = text()
    for _ in range(depth):
        schema = object_of(a=schema, b=schema) if depth < 20 else object_of(a=schema)
    return schema


SCHEMAS: dict[str, Any] = {
    "a text of at most 500 characters": text(maxLength=500),
    "the same in an object": object_of(name=text(maxLength=500), about=text(maxLength=500)),
    "126 short texts": object_of(a={"anyOf": [text(maxLength=2 + n % 3) for n in range(126)]}),
    "149 emoji": {"enum": [chr(0x1F300 + n) for n in range(149)]},
    "a counted pattern": text(pattern="^([a-z]{1,40}[0-9]{1,40}){1,40}$"),
    "an ambiguous pattern": text(pattern="^(a|a|aa)*(b|bb)*(a|b|ab)*$"),
    "a list of 10,000": {"type": "array", "items": text(), "minItems": 10_000, "maxItems": 10_000},
    "2,000 properties": object_of(**{f"p{n}": text() for n in range(2000)}),
    "2^12 nested properties": nested(12),
    "200 levels": nested(200),
    "a schema within itself": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
}


ATTACKS = tuple(
    Attack(f"schema: {name}", partial(constrained, schema=schema))
    for name, schema in SCHEMAS.items()
)
