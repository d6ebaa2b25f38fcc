"""Grammar of DeepSeek V3.2's calls (fleet_server.generation.tool_parsers.dsml_calls)."""

from __future__ import annotations

import json

from fleet_server.engines.guided.lark import quoted
from fleet_server.generation.tool_grammars.marks import DSML
from fleet_server.generation.tool_grammars.properties import (
    Property,
    Schema,
    properties_of,
    refers_outside,
    with_definitions,
)
from fleet_server.generation.tool_grammars.rules import ANY_OBJECT, Rules, alternatives
from fleet_server.generation.tool_grammars.xml import texts_of
from fleet_server.protocols import OutputFormat

CLOSE = f"</{DSML}parameter>"


def write_dsml(rules: Rules, name: str, arguments: OutputFormat) -> str | None:
    """A WriteCall. None if the properties cannot be written one by one."""
    schema = json.loads(arguments.source)
    properties = None if refers_outside(schema) else properties_of(schema)
    if schema == ANY_OBJECT:
        body = f"({_any(rules, arguments)})*"
    elif properties is None or any(
        not each.name or set('"\n') & {*each.name} for each in properties
    ):
        return None
    else:
        terms = [(_parameter(rules, each, schema, arguments), each.required) for each in properties]
        body = " ".join(term if required else f"({term})?" for term, required in terms)
    head, tail = f'<{DSML}invoke name="{name}">\n', f"</{DSML}invoke>"
    return f"{rules.literal(head)} {body} {rules.literal(tail)}"


def _parameter(rules: Rules, given: Property, root: Schema, of: OutputFormat) -> str:
    """The term of one parameter: a text as it is, or JSON."""
    schema = given.schema
    close = rules.literal(CLOSE + "\n")
    texts = texts_of(schema) if schema.get("type") == "string" else None
    if texts is None or any(CLOSE in text for text in texts):
        value = rules.value(with_definitions(schema, root), of)
        return f"{_head(rules, given.name, 'false')} {value} {close}"
    head = _head(rules, given.name, "true")
    if not texts:
        return f'{head} {rules.until(CLOSE)} "\\n"'
    return f"{head} {alternatives([quoted(text) for text in texts])} {close}"


def _head(rules: Rules, name: str, is_text: str) -> str:
    return rules.literal(f'<{DSML}parameter name="{name}" string="{is_text}">')


def _any(rules: Rules, of: OutputFormat) -> str:
    """The rule of a parameter of any name with any value."""
    rules.rule("DSML_NAME", r'/[^"\n]+/')
    begin = rules.literal(f'<{DSML}parameter name="')
    text = f'"\\" string=\\"true\\">" {rules.until(CLOSE)}'
    value = f'"\\" string=\\"false\\">" {rules.value({}, of)} {rules.literal(CLOSE)}'
    return rules.rule("dsml_any", f'{begin} DSML_NAME ({text} | {value}) "\\n"')
