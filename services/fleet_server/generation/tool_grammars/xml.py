"""Grammar of calls in the markup of Qwen3-Coder
(fleet_server.generation.tool_parsers.xml_calls)."""

from __future__ import annotations

import json

from fleet_server.engines.guided.lark import quoted
from fleet_server.generation.tool_grammars.properties import (
    Property,
    Schema,
    keywords,
    properties_of,
    refers_outside,
    with_definitions,
)
from fleet_server.generation.tool_grammars.rules import ANY_OBJECT, Rules, alternatives
from fleet_server.protocols import OutputFormat

CLOSE = "</parameter>"


def write_xml(rules: Rules, name: str, arguments: OutputFormat) -> str | None:
    """A WriteCall. None if a text has bounds or a
    pattern, or a name cannot be written: such calls are JSON."""
    schema = json.loads(arguments.source)
    if schema == ANY_OBJECT:
        body = f"({_any(rules)})*"
    else:
        properties = properties_of(schema)
        if properties is None or refers_outside(schema):
            return None
        terms: list[str] = []
        for each in properties:
            term = _parameter(rules, each, schema, arguments)
            if term is None:
                return None
            terms.append(term if each.required else f"({term})?")
        body = " ".join(terms)
    head = quoted(f"<function={name}>\n")
    return f'{head} {body} "</function>"'


def _parameter(rules: Rules, given: Property, root: Schema, of: OutputFormat) -> str | None:
    """The term of one parameter; a string is the text as it is."""
    name, schema = given.name, given.schema
    if not name or name != name.strip() or ">" in name or "\n" in name:
        return None
    head = quoted(f"<parameter={name}>\n")
    if schema.get("type") != "string":
        value = rules.value(with_definitions(schema, root), of)
    else:
        texts = texts_of(schema)
        if texts == []:
            return f'{head} {rules.until(CLOSE)} "\\n"'
        if texts is None or any(CLOSE in text for text in texts):
            return None
        value = alternatives([quoted(text) for text in texts])
    return f'{head} {value} "\\n{CLOSE}\\n"'


def texts_of(schema: Schema) -> list[str] | None:
    """The only texts that a schema of strings allows, none for any text; None if it has other
    keywords."""
    match sorted(keywords(schema) - {"type"}):
        case []:
            return []
        case ["const"]:
            texts = [schema["const"]]
        case ["enum"]:
            texts = schema["enum"]
        case _:
            return None
    known = isinstance(texts, list) and texts and all(isinstance(each, str) for each in texts)
    return list(texts) if known else None


def _any(rules: Rules) -> str:
    """The rule of a parameter of any name with any text."""
    rules.rule("XML_NAME", r"/[^>\n]+/")
    return rules.rule("xml_any", f'"<parameter=" XML_NAME ">" {rules.until(CLOSE)} "\\n"')
