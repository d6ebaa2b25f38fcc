"""Grammar of Gemma's calls (fleet_server.generation.tool_parsers.gemma_calls).

Strings are between marks of their own at all depths, so schemas are translated to rules. Values
whose schemas have bounds, patterns and the like are JSON, which the parser reads too.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fleet_server.engines.guided.json_pointer import resolve
from fleet_server.engines.guided.lark import quoted
from fleet_server.generation.tool_grammars.properties import (
    REFERENCES,
    Schema,
    keywords,
    properties_of,
    refers_outside,
    with_definitions,
)
from fleet_server.generation.tool_grammars.rules import ANY_OBJECT, Rules, WriteCall, alternatives
from fleet_server.protocols import OutputFormat

KEY = re.compile("[A-Za-z_][A-Za-z0-9_-]*")
MOST_ITEMS = 200
"""Of a list with bounds; the rules of a longer one take long to compile."""
PLAIN = {
    "boolean": '("true" | "false")', "null": '"null"', "integer": "GEMMA_INTEGER",
    "number": "GEMMA_NUMBER",
}  # fmt: skip
TYPES = {
    str: ("string",), bool: ("boolean",), int: ("integer", "number"), float: ("number",),
    type(None): ("null",),
}  # fmt: skip
"""The types in JSON Schema of Python's values."""
TERMINALS = {
    "GEMMA_INTEGER": r"/-?(0|[1-9][0-9]{0,17})/",
    "GEMMA_NUMBER": r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?/",
    "GEMMA_KEY": "/[A-Za-z_][A-Za-z0-9_-]*/",
}


def writer(quote: str) -> WriteCall:
    """A writer of calls whose strings are between two `quote`s."""

    def write(rules: Rules, name: str, arguments: OutputFormat) -> str | None:
        schema = json.loads(arguments.source)
        head = quoted(f"call:{name}")
        if schema == ANY_OBJECT:
            return f"{head} {_any_object(rules, quote)}"
        if refers_outside(schema) or properties_of(schema) is None:
            return None
        return f"{head} {_Values(rules, quote, schema, arguments).whole()}"

    return write


class _Values:
    """Writes the values of one tool's arguments, whose schema is `root`.

    Lists and objects have rules of their own: terms within terms would double with each level.
    """

    def __init__(self, rules: Rules, quote: str, root: Schema, of: OutputFormat) -> None:
        self._rules = rules
        self._quote = quote
        self._root = root
        self._of = of
        self._name = f"gemma_{len(rules.lines)}"
        """Begins the names of the rules."""
        self._inner = 0
        """The number of lists and objects so far."""
        self._references: dict[str, str] = {}
        self._waiting: list[tuple[str, Schema]] = []
        """Rules of definitions that are not written yet: a chain of references may be long."""

    def whole(self) -> str:
        """The term of the arguments."""
        term = self._term(self._root)
        while self._waiting:
            name, schema = self._waiting.pop()
            self._rules.define(name, self._term(schema))
        return term

    def _term(self, schema: Any) -> str:
        """The term of a value."""
        if not isinstance(schema, dict):
            return self._json({} if schema is not False else {"not": {}})
        kinds = keywords(schema)
        kind = schema.get("type")
        if kinds == {"$ref"}:
            return self._reference(str(schema["$ref"]))
        if kinds == {"anyOf"} and isinstance(schema["anyOf"], list) and schema["anyOf"]:
            return alternatives([self._term(each) for each in schema["anyOf"]])
        if kinds - {"type"} in ({"enum"}, {"const"}):
            return self._constants(schema)
        if kinds == {"type"} and isinstance(kind, list) and kind:
            return alternatives([self._term({"type": each}) for each in kind])
        if not isinstance(kind, str):
            return self._json(schema)
        if kinds == {"type"} and kind in PLAIN:
            for name, pattern in TERMINALS.items():
                self._rules.rule(name, pattern)
            return PLAIN[kind]
        if kinds == {"type"} and kind == "string":
            return _string(self._rules, self._quote)
        if kind == "array" and kinds <= {"type", "items", "minItems", "maxItems"}:
            return self._list(schema)
        return self._object(schema) if kind == "object" else self._json(schema)

    def _json(self, schema: Schema) -> str:
        return self._rules.value(with_definitions(schema, self._root), self._of)

    def _reference(self, reference: str) -> str:
        """The rule of a definition, which may refer to itself."""
        if reference in self._references:
            return self._references[reference]
        found = resolve(reference, self._root)
        if not reference.startswith(REFERENCES) or not isinstance(found, dict):
            return self._json({"$ref": reference})
        name = f"{self._name}_of_{len(self._references)}"
        self._references[reference] = name
        self._rules.reserve(name)
        self._waiting.append((name, found))
        return name

    def _constants(self, schema: Schema) -> str:
        values = schema.get("enum", [schema.get("const")])
        if not isinstance(values, list) or not values or not _are_of(schema.get("type"), values):
            return self._json(schema)
        terms: list[str] = []
        for value in values:
            if isinstance(value, dict | list) or (isinstance(value, str) and self._quote in value):
                return self._json(schema)
            if isinstance(value, str):
                terms.append(self._rules.literal(self._quote + value + self._quote))
            else:
                terms.append(quoted(json.dumps(value)))
        return alternatives(terms)

    def _list(self, schema: Schema) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        bounds = [each for each in (least, most) if each is not None]
        if not all(type(each) is int and 0 <= each <= MOST_ITEMS for each in bounds):
            return self._json(schema)
        if "items" not in schema:
            item = _any(self._rules, self._quote)
        else:
            item = self._term(schema["items"])
        if most == 0:
            return '"[" "]"'
        items = item = self._rules.rule(self._next(), item)
        if most != 1:
            again = f"{max(0, least - 1)},{'' if most is None else most - 1}"
            items += f' ("," {item}){{{again}}}'
        return f'"[" {items} "]"' if least else f'"[" ({items})? "]"'

    def _object(self, schema: Schema) -> str:
        properties = properties_of(schema)
        if keywords(schema) == {"type"}:
            return _any_object(self._rules, self._quote)
        if properties is None or any(self._quote in each.name for each in properties):
            return self._json(schema)
        name = self._next()
        items = [
            (f"{self._key(each.name)} {self._term(each.schema)}", each.required)
            for each in properties
        ]
        term = f'"{{" {self._rules.sequence(name, items, ",")} "}}"'
        return self._rules.rule(name, term)

    def _next(self) -> str:
        """The name of a new rule."""
        self._inner += 1
        return f"{self._name}_in_{self._inner}"

    def _key(self, name: str) -> str:
        if KEY.fullmatch(name):
            return quoted(f"{name}:")
        return f'{self._rules.literal(self._quote + name + self._quote)} ":"'


def _are_of(kind: Any, values: list[Any]) -> bool:
    """Whether all values are of a type of a schema, which may have none."""
    kinds = kind if isinstance(kind, list) else [kind]
    return kind is None or all(
        any(each in kinds for each in TYPES.get(type(value), ())) for value in values
    )


def _string(rules: Rules, quote: str) -> str:
    return f"{rules.literal(quote)} {rules.until(quote)}"


def _any(rules: Rules, quote: str) -> str:
    """The rule of any value."""
    name = "gemma_any"
    if rules.reserve(name):
        for terminal, pattern in TERMINALS.items():
            rules.rule(terminal, pattern)
        rules.define(name, alternatives([
            _string(rules, quote), "GEMMA_NUMBER", PLAIN["boolean"], PLAIN["null"],
            f'"[" ({name} ("," {name})*)? "]"', _any_object(rules, quote),
        ]))  # fmt: skip
    return name


def _any_object(rules: Rules, quote: str) -> str:
    """The rule of an object of any values."""
    name = "gemma_object"
    if rules.reserve(name):
        one = f'GEMMA_KEY ":" {_any(rules, quote)}'
        rules.define(name, f'"{{" ({one} ("," {one})*)? "}}"')
    return name
