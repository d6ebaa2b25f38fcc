"""Converts a JSON Schema to a grammar of the texts it allows.

It is not left to an engine's grammar compiler, whose failure would end all sequences of the batch:
unsupported keywords are refused with their place. The semantics are those of
json-schema.org/draft/2020-12, the supported subset that of OpenAI's strict structured outputs. The
grammar is in xgrammar's notation (EBNF as in llama.cpp's GBNF); its first rule is `root`.

The grammar is narrower than the schema where a small model might otherwise not stop: properties
come in the order of their declaration without others, white space is short, and numbers have at
most 16 digits.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from fleet_contract.errors import BadRequest, UnsupportedParameter

# A grammar is compiled within a step of the engine, which delays all sequences: 4 ms for each part
# and 0.2 ms for each repetition were measured. Grammars many times larger crashed the process.
MAX_NODES = 128
"""Schemas within a schema, references counted once."""
MAX_DEPTH = 32
MAX_REPEATS = 1000
"""Sum of all lengths of strings and numbers of items."""
MAX_LITERAL_CHARS = 20_000
"""Total characters of all names and enumerated values."""

ANNOTATIONS = frozenset({
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default",
    "examples", "deprecated", "readOnly", "writeOnly",
})  # fmt: skip
OF_TYPE: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "number": frozenset(),
    "integer": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
TERMINALS = r"""
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? ws "}"
array ::= "[" ws (value ("," ws value)*)? ws "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" hex hex hex hex)
hex ::= [0-9a-fA-F]
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
number ::= integer ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
ws ::= " "? | "\n" " "{0,16}
"""


def grammar(schema: Any, param: str) -> str:
    """The grammar of `schema`. Raises BadRequest whose `param` begins with `param`."""
    return _Writer(schema, param).written()


class _Writer:
    """Writes one grammar. `place` is the place of a schema in the request, `head` the rule that
    begins with it, None if characters precede it."""

    def __init__(self, root: Any, param: str) -> None:
        self._root = root
        self._param = param
        self._rules: dict[str, str] = {}
        self._referred: dict[str, str] = {}
        self._heads: dict[str, set[str]] = defaultdict(set)
        self._nodes = 0
        self._chars = 0
        self._repeats = 0

    def written(self) -> str:
        rules = {"root": self._value(self._root, self._param, "root", 0)} | self._rules
        try:
            TopologicalSorter(self._heads).prepare()
        except CycleError:
            raise BadRequest(
                "The schema refers to itself without end.", param=self._param
            ) from None
        return "\n".join(f"{name} ::= {body}" for name, body in rules.items()) + TERMINALS

    def _value(self, schema: Any, place: str, head: str | None, depth: int) -> str:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise BadRequest(
                f"The schema has more than {MAX_NODES} parts or {MAX_DEPTH} levels.",
                param=self._param,
            )
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            raise _wrong(place, "must be an object, or true")
        known = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        if "enum" in known or "const" in known:
            return self._enumerated(known, place)
        for keyword in ("$ref", "anyOf", "allOf"):
            if keyword in known:
                _only(known, {keyword}, place)
                if keyword == "$ref":
                    return self._reference(known[keyword], f"{place}.$ref", head, depth)
                return self._any_of(keyword, known[keyword], f"{place}.{keyword}", head, depth)
        return self._typed(known, place, depth)

    def _enumerated(self, known: Mapping[str, Any], place: str) -> str:
        keyword = "enum" if "enum" in known else "const"
        _only(known, {keyword, "type"}, place)
        values = known["enum"] if keyword == "enum" else [known["const"]]
        types = _types(known, place)
        if not isinstance(values, list):
            raise _wrong(f"{place}.enum", "must be a list")
        allowed = [value for value in values if any(_is(value, kind) for kind in types)]
        if not allowed:
            raise _wrong(f"{place}.{keyword}", "allows nothing")
        return _either([self._literal(value) for value in allowed])

    def _reference(self, pointer: Any, place: str, head: str | None, depth: int) -> str:
        name = self._referred.get(pointer) if isinstance(pointer, str) else None
        if name is None:
            target = _resolve(self._root, pointer, place)
            name = self._referred[pointer] = f"ref{len(self._referred)}"
            self._rules[name] = ""  # reserves the name, since the rule may refer to itself
            self._rules[name] = self._value(target, f"{self._param}{pointer[1:]}", name, depth + 1)
        if head is not None:
            self._heads[head].add(name)
        return name

    def _any_of(self, keyword: str, given: Any, place: str, head: str | None, depth: int) -> str:
        if not isinstance(given, list) or not given:
            raise _wrong(place, "must be a list of schemas")
        if keyword == "allOf" and len(given) > 1:
            raise _unsupported(place, "of more than one schema")
        return _either(
            [self._value(each, f"{place}[{n}]", head, depth + 1) for n, each in enumerate(given)]
        )

    def _typed(self, known: Mapping[str, Any], place: str, depth: int) -> str:
        types = _types(known, place)
        _only(known, {"type"}.union(*(OF_TYPE[kind] for kind in types)), place)
        if "type" not in known:
            types = [kind for kind in types if OF_TYPE[kind] & known.keys()]
            if not types:
                return "value"
        write = {"object": self._object, "array": self._array, "string": self._string}
        return _either(
            [write[kind](known, place, depth) if kind in write else kind for kind in types]
        )

    def _object(self, known: Mapping[str, Any], place: str, depth: int) -> str:
        properties = known.get("properties", {})
        required = known.get("required", [])
        if not isinstance(properties, dict):
            raise _wrong(f"{place}.properties", "must be an object of schemas")
        if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
            raise _wrong(f"{place}.required", "must be a list of names")
        more = known.get("additionalProperties", True)
        for name in required:
            if name not in properties:
                if more is False:
                    raise _wrong(f"{place}.required", f"names {name!r}, which nothing allows")
                properties = {**properties, name: more}
        if not properties:
            return self._map(more, f"{place}.additionalProperties", depth)
        pairs = [
            (
                f'{self._literal(name)} ":" ws '
                f"{self._value(schema, f'{place}.properties.{name}', None, depth + 1)}",
                name in required,
            )
            for name, schema in properties.items()
        ]
        return f'"{{" ws {self._in_order(pairs)} ws "}}"'

    def _map(self, more: Any, place: str, depth: int) -> str:
        if more is False:
            return '"{" ws "}"'
        if more is True:
            return "object"
        pair = f'string ":" ws {self._value(more, place, None, depth + 1)}'
        return f'"{{" ws ({pair} ("," ws {pair})*)? ws "}}"'

    def _in_order(self, pairs: Sequence[tuple[str, bool]]) -> str:
        """The pairs in order, separated by commas; those not required are optional."""
        rest = ""
        begin = '""'
        for pair, required in reversed(pairs):
            name = self._rule(pair)
            with_rest = f"{name} {rest}".strip()
            begin = with_rest if required else _either([with_rest, begin])
            begin = self._rule(begin)
            follow = f'"," ws {name}' if required else f'("," ws {name})?'
            rest = self._rule(f"{follow} {rest}".strip())
        return begin

    def _array(self, known: Mapping[str, Any], place: str, depth: int) -> str:
        item = self._rule(self._value(known.get("items", True), f"{place}.items", None, depth + 1))
        least, most = self._bounds(known, "minItems", "maxItems", place)
        if most == 0:
            return '"[" ws "]"'
        upper = "" if most is None else most - 1
        some = f'{item} ("," ws {item}){{{max(0, least - 1)},{upper}}}'
        return f'"[" ws {some if least else f"({some})?"} ws "]"'

    def _string(self, known: Mapping[str, Any], place: str, depth: int) -> str:
        least, most = self._bounds(known, "minLength", "maxLength", place)
        if (least, most) == (0, None):
            return "string"
        return f'"\\"" char{{{least},{"" if most is None else most}}} "\\""'

    def _bounds(
        self, known: Mapping[str, Any], lower: str, upper: str, place: str
    ) -> tuple[int, int | None]:
        for name in (lower, upper):
            value = known.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise _wrong(f"{place}.{name}", "must be an integer of 0 or more")
            self._repeats += value
            if self._repeats > MAX_REPEATS:
                raise _unsupported(
                    f"{place}.{name}", f"when the lengths of a schema exceed {MAX_REPEATS} together"
                )
        least, most = known.get(lower, 0), known.get(upper)
        if most is not None and most < least:
            raise _wrong(f"{place}.{upper}", f"is less than {lower}")
        return least, most

    def _literal(self, value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False)
        self._chars += len(text)
        if self._chars > MAX_LITERAL_CHARS:
            raise BadRequest(
                f"The schema's names and values have more than {MAX_LITERAL_CHARS} characters.",
                param=self._param,
            )
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    def _rule(self, body: str) -> str:
        name = f"part{len(self._rules)}"
        self._rules[name] = body
        return name


def _types(known: Mapping[str, Any], place: str) -> list[str]:
    given = known.get("type", list(OF_TYPE))
    types = [given] if isinstance(given, str) else given
    if (
        not isinstance(types, list)
        or not types
        or not all(isinstance(kind, str) and kind in OF_TYPE for kind in types)
    ):
        raise _wrong(f"{place}.type", f"must be of {', '.join(OF_TYPE)}")
    return list(dict.fromkeys(types))


def _is(value: Any, kind: str) -> bool:
    """Whether a value read from JSON is of a type of JSON Schema."""
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    names: dict[type, tuple[str, ...]] = {
        dict: ("object",), list: ("array",), str: ("string",), int: ("integer", "number"),
        type(None): ("null",),
    }  # fmt: skip
    return kind in names[type(value)]


def _resolve(root: Any, pointer: Any, place: str) -> Any:
    """The value that an RFC 6901 pointer refers to in the document."""
    if not isinstance(pointer, str) or (pointer != "#" and not pointer.startswith("#/")):
        raise _wrong(place, "must point into this schema, as '#/$defs/name' does")
    found = root
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise _wrong(place, "points to nothing")
        found = found[key]
    return found


def _only(known: Mapping[str, Any], allowed: set[str], place: str) -> None:
    for keyword in known.keys() - allowed:
        others = " and ".join(f"'{name}'" for name in sorted(allowed & known.keys()))
        raise _unsupported(f"{place}.{keyword}", f"together with {others}" if others else "")


def _either(expressions: Sequence[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"({' | '.join(expressions)})"


def _wrong(place: str, why: str) -> BadRequest:
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_value")


def _unsupported(place: str, where: str) -> BadRequest:
    refused = f"'{place}' {where}".strip()
    return UnsupportedParameter(
        f"{refused} is not supported by this model's engine; the engine 'vllm' may support it.",
        param=place,
    )
