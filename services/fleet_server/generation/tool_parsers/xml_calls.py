"""Calls of Qwen3-Coder and Qwen3.5: `<function=name><parameter=key>value</parameter></function>`.

A value is the text as it is where the tool's schema allows a string, and JSON otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse
from fleet_server.generation.tool_parsers.json_calls import outside_text, read_json
from fleet_server.generation.tool_parsers.schema_kinds import allows, kinds

FUNCTION = re.compile(r"\s*<function=([^>\n]+)>(.*?)(?:</function>\s*|$)", re.DOTALL)
PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>(.*?)</parameter>\s*", re.DOTALL)


def read_either(block: str, schemas: Schemas) -> list[Call] | None:
    """A call of this form, or calls as JSON."""
    if not block.lstrip().startswith("<function="):
        return read_json(block, schemas)
    function = FUNCTION.fullmatch(block)
    if function is None or function[1].strip() not in schemas:
        return None
    name, body = function[1].strip(), function[2]
    whole = schemas[name]
    declared = whole.get("properties")
    found: dict[str, Any] = {}
    place = 0
    while place < len(body.rstrip()):
        parameter = PARAMETER.match(body, place)
        if parameter is None:
            return None
        key, place = parameter[1].strip(), parameter.end()
        schema = declared.get(key) if isinstance(declared, Mapping) else None
        found[key] = _value(_trimmed(parameter[2]), schema, whole)
    known = call(name, found, schemas)
    return None if known is None else [known]


def may_end(block: str) -> bool:
    """Whether a block may end here: after a function, or outside of JSON's strings."""
    if block.lstrip().startswith("<function="):
        return block.rstrip().endswith("</function>")
    return outside_text(block)


def _trimmed(text: str) -> str:
    """The text without the line ends with which templates surround a value."""
    return text.removeprefix("\n").removesuffix("\n")


def _value(text: str, schema: Any, whole: Mapping[str, Any]) -> Any:
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        return text
    if text.strip() == "null":
        return None
    value = parse(text)
    if value is None:
        return text
    # Models write texts without quotes, grammars only where the type is nothing but a string.
    named = kinds(schema, whole)
    is_text = not isinstance(value, str) and "string" in named and not allows(named, value)
    return text if is_text else value
