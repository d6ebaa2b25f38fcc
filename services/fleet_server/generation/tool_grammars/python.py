"""Grammar of Python calls (fleet_server.generation.tool_parsers.python_calls)."""

from __future__ import annotations

import json
import keyword

from fleet_server.engines.guided.lark import quoted
from fleet_server.generation.tool_grammars.properties import (
    Property,
    Schema,
    keywords,
    properties_of,
    refers_outside,
    with_definitions,
)
from fleet_server.generation.tool_grammars.rules import ANY_OBJECT, Rules
from fleet_server.protocols import OutputFormat

LITERALS = {"boolean": '("True" | "False")', "null": '"None"'}


def write_python(rules: Rules, name: str, arguments: OutputFormat) -> str | None:
    """A WriteCall. None if a name is not one of
    Python: such calls are JSON. Values are JSON besides True, False and None."""
    schema = json.loads(arguments.source)
    if not _is_name(name):
        return None
    if schema == ANY_OBJECT:
        body = f"({_any(rules, arguments)})?"
    else:
        properties = properties_of(schema)
        if (
            properties is None
            or refers_outside(schema)
            or not all(_is_name(each.name) for each in properties)
        ):
            return None
        items = [(_argument(rules, each, schema, arguments), each.required) for each in properties]
        body = rules.sequence(f"python_{len(rules.lines)}", items, ", ")
    return f'{quoted(name + "(")} {body} ")"'


def _argument(rules: Rules, given: Property, root: Schema, of: OutputFormat) -> str:
    schema = given.schema
    kind = schema.get("type")
    plain = keywords(schema) == {"type"} and isinstance(kind, str)
    value = LITERALS.get(str(kind)) if plain else None
    if value is None:
        value = rules.value(with_definitions(schema, root), of)
    return f"{quoted(given.name + '=')} {value}"


def _any(rules: Rules, of: OutputFormat) -> str:
    """The rule of arguments of any names with any values."""
    rules.rule("PYTHON_NAME", "/[A-Za-z_][A-Za-z0-9_]*/")
    one = rules.rule("python_any", f'PYTHON_NAME "=" {rules.value({}, of)}')
    return rules.rule("python_all", f'{one} (", " {one})*')


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
